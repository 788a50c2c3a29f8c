// Builds what is published, except types: one file for the command and one for the worker's runtime, since loading many
// costs each start and each process more than all else that they do; and the modules that programs import.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

const common = { bundle: true, platform: 'node', target: 'node20', logLevel: 'warning', metafile: true };
/** CommonJS: an ES module that imports `http` costs a process 10 MB on Node 22 and later. */
const commonJs = { ...common, format: 'cjs', supported: { 'dynamic-import': false }, minify: true, sourcemap: 'external', sourcesContent: false };

/** Parts of the command that a master loads later, or never: files of their own, with a copy of what they share with the entry. */
const apart = { winston: 'winston', './command-line.ts': 'src/cli/command-line.ts' };
const leaveApart = {
  name: 'apart',
  setup({ onResolve }) {
    onResolve({ filter: /^(winston|\.\/command-line\.ts)$/ }, ({ path, kind }) =>
      kind === 'dynamic-import' ? { path: fileOf(path), external: true } : undefined,
    );
  },
};
const command = {
  ...commonJs,
  external: ['yargs', 'execa'], // seldom loaded
  plugins: [leaveApart],
  define: { 'import.meta.url': 'moduleUrl' },
  banner: { js: "const moduleUrl = require('node:url').pathToFileURL(__filename).href;" },
};

rmSync('dist', { recursive: true, force: true });
const parts = [['src/cli/entry.ts', './entry.cjs'], ...Object.entries(apart).map(([path, entry]) => [entry, fileOf(path)])];
const built = await Promise.all(parts.map(([entry, file]) => build({ ...command, entryPoints: [entry], outfile: `dist/cli/${file}` })));
await build({ ...commonJs, entryPoints: ['src/worker/entry.ts'], outfile: 'dist/worker/preload.cjs' });
await build({
  ...common,
  format: 'esm',
  splitting: true,
  packages: 'external',
  entryPoints: ['src/index.ts', 'src/ws.ts'],
  outdir: 'dist',
  chunkNames: 'chunks/[name]-[hash]',
});
writeFileSync('dist/licences.txt', licencesOf(built.flatMap(({ metafile }) => Object.keys(metafile.inputs))));

/** Beside the entry. */
function fileOf(path) {
  return `./${basename(path, '.ts')}.cjs`;
}

/** Notices of the packages that became part of it. */
function licencesOf(files) {
  const folders = new Set(files.flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? []));
  return [...folders].sort().map(noticeOf).join('\n');
}

function noticeOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  return `${name} ${version} (${license})\n\n${file === undefined ? '' : readFileSync(join(folder, file), 'utf8')}\n`;
}
