/**
 * All competitors side by side: `npm run bench -- --only steady,storm --rounds 5 --duration 10s`. Prints tables and writes
 * JSON, charts and a page of tables into docs/benchmarks (`--out FOLDER`: elsewhere). `--quick` shows that all of it works.
 */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { competitors, versionsOf } from './competitors.ts';
import { protocols } from './connections.ts';
import { Ground } from './ground.ts';
import { type Circumstances, describeMachine, makeReport, toText, writePage, writeReport } from './report.ts';
import { Results } from './results.ts';
import type { Bench, Section } from './section.ts';
import { balance } from './sections/balance.ts';
import { cost } from './sections/cost.ts';
import { growth } from './sections/growth.ts';
import { protocols as protocolCosts } from './sections/protocols.ts';
import { reload } from './sections/reload.ts';
import { startUp } from './sections/start.ts';
import { steady } from './sections/steady.ts';
import { storm } from './sections/storm.ts';
import { findTools } from './tools.ts';

const sections: readonly Section[] = [steady, storm, protocolCosts, reload, startUp, cost, growth, balance];

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: sections.map(({ name }) => name).join(',') },
    with: { type: 'string' },
    speak: { type: 'string', default: protocols.join(',') },
    rounds: { type: 'string' },
    duration: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: fileURLToPath(new URL('../../docs/benchmarks', import.meta.url)) },
  },
});
const names = values.only.split(',');
const unknown = names.filter((name) => !sections.some((section) => section.name === name));
if (unknown.length > 0) throw new Error(`no such section: ${unknown.join(', ')}; there are ${sections.map(({ name }) => name).join(', ')}`);

let notes: string[] = [];
const say = (text: string) => process.stderr.write(`${text}\n`);
const note = (text: string) => {
  notes.push(text);
  say(text);
};

const machine = describeMachine(); // before we are the load ourselves
const tools = findTools(note);
const setUpNotes = notes;
const ground = new Ground();
const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
const bench: Bench = {
  ground,
  tools,
  competitors: competitors.filter(({ name, needs }) => (needs === undefined || tools[needs] !== undefined) && isWanted(name)),
  rounds,
  durationMs: Number.parseFloat(values.duration ?? (values.quick ? '1s' : '10s')) * 1000,
  isQuick: values.quick,
  speaks: (protocol) => values.speak.split(',').includes(protocol),
  say,
  note,
};
const circumstances: Circumstances = {
  date: new Date().toISOString().slice(0, 16).replace('T', ' '),
  command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
  rounds,
  isQuick: values.quick,
  machine,
  versions: versionsOf(tools),
};

mkdirSync(values.out, { recursive: true });
const reports = [];
for (const section of sections.filter(({ name }) => names.includes(name))) {
  notes = [];
  const results = new Results(section.metrics);
  await section.run(bench, results);
  const report = makeReport(section, results, circumstances, [...setUpNotes, ...notes]);
  writeReport(values.out, section, report);
  reports.push(report);
  if (!values.json) console.log(toText(report));
}
writePage(
  values.out,
  sections.map(({ name }) => name),
);
if (values.json) console.log(JSON.stringify(reports, null, 1));
process.exit();

function isWanted(name: string): boolean {
  return values.with === undefined || values.with.split(',').some((part) => name.toLowerCase().includes(part.toLowerCase()));
}
