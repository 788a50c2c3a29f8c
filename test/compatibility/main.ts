/**
 * Shows that programs can't tell a supervisor: runs the tests of real libraries, and talks to example programs, with and without one; and that their
 * clients can't tell a reload.
 * What is needed comes from npm, into a cache outside the repository. Run after a build; `npm run test:compatibility -- NAME …` tries these libraries
 * and programs alone.
 */
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, installInto } from '../helpers/cache.ts';
import { type Client, missing } from '../helpers/interop/clients.ts';
import { goesOn } from '../helpers/interop/goes-on.ts';
import type { Protocol } from '../helpers/interop/talker.ts';
import { root, temporaryFolder } from '../helpers/rig.ts';
import { clientPackages, installChromium, largeClients } from './clients.ts';
import { type Account, datagramPrograms } from './datagrams.ts';
import { installed, type Layout, layOut } from './layouts.ts';
import { companions, type Library, libraries } from './libraries.ts';
import { compareProgram, programs } from './programs.ts';
import { type Reloaded, reloaded, reloadUnderLoad } from './reloads.ts';
import { type Comparison, compare, count, filesOf } from './suites.ts';

const AT_ONCE = 2;
const RELOADS = 20;
const wanted = process.argv.slice(2);
const isWanted = (name: string) => wanted.length === 0 || wanted.includes(name);
const folder = install();
const complaints: string[] = [];

console.log('example program     answers  the same');
for (const file of Object.keys(programs).filter(isWanted)) {
  const { answers, differences } = await compareProgram(join(folder, 'programs'), file);
  console.log(`${file.padEnd(20)}${column(answers, 7)}${column(answers - differences.length, 10)}`);
  complaints.push(...differences.map((difference) => `${file}: ${JSON.stringify(difference, null, 2)}`));
}
console.log('\ndatagrams to           sent     lost  doubled');
for (const [name, run] of Object.entries(datagramPrograms)) if (isWanted(name)) await tryDatagrams(name, run);
console.log('\ninstalled by           program        answers  the same');
if (isWanted('layouts')) for (const layout of layOut()) for (const file of installed) await tryLayout(layout, file);
console.log('\nreloaded under load    answers  connections');
for (const [name, trial] of Object.entries(reloaded)) if (isWanted(name) || isWanted('reloads')) await tryReloads(name, trial);
console.log('\nclient');
for (const client of largeClients(folder).filter(({ name }) => isWanted(name))) for (const protocol of client.speaks) await tryClient(client, protocol);
console.log('\nlibrary                 files    plain: passed failed    supervised: passed failed    known to differ   seconds');
for (const library of libraries.filter(({ name }) => isWanted(name))) await tryLibrary(library);
for (const complaint of complaints) console.error(`\n${complaint}`);
process.exit(complaints.length === 0 ? 0 : 1);

function install(): string {
  const path = cacheFolder('libraries');
  const packages = [...libraries.map(({ name, version }) => `${name}@${version}`), ...companions, ...clientPackages];
  if (isWanted('Chromium')) installChromium();
  const record = join(path, 'package.json');
  const { dependencies = {} } = existsSync(record) ? (JSON.parse(readFileSync(record, 'utf8')) as { dependencies?: Record<string, string> }) : {};
  const isComplete = packages.every((each) => dependencies[each.slice(0, each.lastIndexOf('@'))] === each.slice(each.lastIndexOf('@') + 1));
  if (!isComplete) installInto(path, packages, ['--ignore-scripts', '--no-package-lock', '--loglevel=error']);
  cpSync(join(root, 'test/compatibility/programs'), join(path, 'programs'), { recursive: true }); // where they find what they import
  return path;
}

async function tryLayout({ name, folder }: Layout, file: string): Promise<void> {
  const { answers, differences } = await compareProgram(folder, file);
  console.log(`${name.padEnd(23)}${file.padEnd(15)}${column(answers, 7)}${column(answers - differences.length, 10)}`);
  complaints.push(...differences.map((difference) => `${file} (${name}): ${JSON.stringify(difference, null, 2)}`));
}

async function tryDatagrams(name: string, run: (folder: string) => Promise<Account>): Promise<void> {
  try {
    const { sent, lost, doubled } = await run(folder);
    console.log(`${name.padEnd(20)}${column(sent, 7)}${column(lost, 9)}${column(doubled, 9)}`);
    if (lost + doubled > 0) complaints.push(`${name}: ${lost} datagrams were lost, ${doubled} answered or counted twice`);
  } catch (error) {
    console.log(`${name.padEnd(20)}  FAILS`);
    complaints.push(`${name}: ${error instanceof Error ? error.message : error}`);
  }
}

async function tryReloads(name: string, trial: Reloaded): Promise<void> {
  try {
    const { answered, connections, complaints: own } = await reloadUnderLoad(folder, trial);
    console.log(`${name.padEnd(23)}${column(answered, 7)}${column(connections, 13)}`);
    complaints.push(...own.map((complaint) => `${name}: ${complaint}`));
  } catch (error) {
    console.log(`${name.padEnd(23)}  FAILS`);
    complaints.push(`${name}: ${error instanceof Error ? error.message : error}`);
  }
}

async function tryClient(client: Client, protocol: Protocol): Promise<void> {
  const reason = missing(client);
  using scratch = temporaryFolder();
  const course = { client, protocol, reloads: RELOADS, folder: scratch.path };
  const complaint = reason ?? (await goesOn(course).then(() => undefined, String));
  console.log(`${client.name} over ${protocol}, ${RELOADS} reloads: ${complaint ?? 'goes on'}`);
  if (reason === undefined && complaint !== undefined) complaints.push(`${client.name} over ${protocol}: ${complaint}`);
}

async function tryLibrary(library: Library): Promise<void> {
  const startedAt = performance.now();
  const modules = join(folder, 'node_modules');
  const files = filesOf(library, modules);
  const all: Comparison[] = [];
  const work = async () => {
    for (let file = files.shift(); file !== undefined; file = files.shift()) all.push(await compare(library, modules, file));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const [plain, supervised] = [count(all.map((each) => each.plain)), count(all.map((each) => each.supervised))];
  const known = all.filter(({ file, isSame }) => !isSame && library.known?.[file] !== undefined);
  const figures = [
    all.length,
    plain.passed,
    plain.failed,
    supervised.passed,
    supervised.failed,
    known.length,
    Math.round((performance.now() - startedAt) / 1000),
  ];
  console.log(library.name.padEnd(20) + figures.map((figure, at) => column(figure, [9, 17, 7, 22, 7, 19, 10][at] ?? 0)).join(''));
  for (const { file, plain: one, supervised: other, isSame, tries } of all) {
    if (isSame && tries > 1) console.log(`  ${file}: differed once, was the same in two more runs`);
    if (isSame || library.known?.[file] !== undefined) continue;
    const lost = one.results.filter((result) => !other.results.includes(result));
    const ends = `ended with ${one.end} plainly, with ${other.end} supervised`;
    complaints.push(`${library.name}/${file}: ${ends}\nonly plainly:\n  ${lost.join('\n  ')}\n${other.stderr.slice(-1_000)}`);
  }
}

function column(figure: number, width: number): string {
  return String(figure).padStart(width);
}
