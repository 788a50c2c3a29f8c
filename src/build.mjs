// Builds what is published, except types: one file for the command and one for the worker's runtime, since loading many
// costs each start and each process more than all else that they do; and the modules that programs import.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { build } from 'esbuild';

const common = { bundle: true, platform: 'node', target: 'node20', logLevel: 'warning', metafile: true };
/** CommonJS: an ES module that imports `http` costs a process 10 MB on Node 22 and later. */
const commonJs = { ...common, format: 'cjs', supported: { 'dynamic-import': false }, sourcemap: 'external', sourcesContent: false };

/** A master may load them late, and keeps their text: see src/parts.ts. */
const parts = ['execa', 'winston'];
/** Loaded later than the entry, or never: files of their own, with a copy of what they share with it. */
const apart = {
  name: 'apart',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\/command-line\.ts$/ }, ({ path, kind }) => (kind === 'dynamic-import' ? { path: fileOf(path), external: true } : undefined));
    onResolve({ filter: new RegExp(`^(${parts.join('|')})$`) }, ({ path, kind }) => (kind === 'dynamic-import' ? { path, namespace: 'part' } : undefined));
    onLoad({ filter: /./, namespace: 'part' }, ({ path }) => ({
      contents: `module.exports = require('./src/parts.ts').loadPart('${path}');`,
      resolveDir: process.cwd(),
    }));
  },
};
/** yargs takes defaults from the package.json that its own module, or else the current folder, lies under: once it is bundled, somebody else's. */
const homeless = {
  name: 'homeless',
  setup({ onLoad }) {
    onLoad({ filter: /yargs\/lib\/platform-shims\/esm\.mjs$/ }, ({ path }) => {
      const [before, after, ...more] = readFileSync(path, 'utf8').split('mainFilename || process.cwd()');
      if (after === undefined || more.length > 0) throw new Error(`${path} is not what it was: where does yargs look for its package.json?`);
      return { contents: `${before}'/'${after}`, resolveDir: dirname(path) };
    });
  },
};
const command = {
  ...commonJs,
  minifySyntax: true,
  minifyWhitespace: true, // together half a millisecond; names stay, for the stacks of reports
  lineLimit: 160,
  plugins: [apart, homeless],
  define: { 'import.meta.url': 'moduleUrl' },
  banner: { js: "const moduleUrl = require('node:url').pathToFileURL(__filename).href;" },
};

rmSync('dist', { recursive: true, force: true });
const entries = ['src/cli/entry.ts', 'src/cli/command-line.ts', ...parts];
const built = await Promise.all(
  entries.map((entry) => build({ ...command, minifyIdentifiers: parts.includes(entry), entryPoints: [entry], outfile: `dist/cli/${fileOf(entry)}` })),
);
// in the stacks of other people's programs, and shown by their tools: as it is written, which costs 0.2 ms
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
const inputs = built.flatMap(({ metafile }) => Object.entries(metafile.inputs));
checkBundled(inputs, JSON.parse(readFileSync('package.json', 'utf8')).bundled);
writeFileSync('dist/licences.txt', licencesOf(inputs.map(([file]) => file)));

/** Beside the entry. */
function fileOf(path) {
  return `./${basename(path, '.ts')}.cjs`;
}

/** package.json says what the command stands on, though nothing of it is installed with it: that has to be true. */
function checkBundled(inputs, listed) {
  const imports = inputs.flatMap(([file, { imports }]) => (file.startsWith('src/') ? imports.map(({ path, original }) => original ?? path) : []));
  const packages = imports.filter((name) => /^[^./]/.test(name) && !name.startsWith('node:') && !parts.includes(name));
  const bundled = [...new Set([...parts, ...packages])].sort();
  if (bundled.join() !== listed.join()) throw new Error(`package.json lists ${listed.join(', ')} as bundled, and ${bundled.join(', ')} are`);
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
