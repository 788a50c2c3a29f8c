/** What was measured, as a table for the terminal and for Markdown, and as JSON. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { arch, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { draw } from './chart.ts';
import { OURS } from './competitors.ts';
import { table } from './measure.ts';
import type { Goal, GoalResult, Results, Row } from './results.ts';
import type { Section } from './section.ts';

/** One section's file: `docs/benchmarks/NAME.json`. */
export interface Report {
  readonly section: string;
  readonly title: string;
  readonly about: string;
  readonly date: string;
  readonly command: string;
  readonly rounds: number;
  readonly isQuick: boolean;
  readonly machine: Readonly<Record<string, string>>;
  readonly versions: Readonly<Record<string, string>>;
  /** What was left out or went wrong. */
  readonly notes: readonly string[];
  readonly metrics: Section['metrics'];
  readonly goals: readonly GoalResult[];
  readonly rows: readonly Row[];
}

export type Circumstances = Pick<Report, 'date' | 'command' | 'rounds' | 'isQuick' | 'machine' | 'versions'>;

/** The machine, and how busy it was before. */
export function describeMachine(): Record<string, string> {
  const [first] = cpus();
  return {
    cpu: `${cpus().length} × ${first?.model.trim()}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${process.platform} ${release()} ${arch()}`,
    'load before': loadavg()[0]?.toFixed(2) ?? '',
  };
}

export function makeReport(section: Section, results: Results, circumstances: Circumstances, notes: readonly string[]): Report {
  const { name, title, about, metrics } = section;
  return { section: name, title, about, ...circumstances, notes, metrics, goals: results.goals(section.goals as readonly Goal[]), rows: results.rows() };
}

/** Writes JSON and chart of a section, and the page with the tables of all sections that were ever written there. */
export function writeReport(folder: string, section: Section, report: Report): void {
  writeFileSync(join(folder, `${report.section}.json`), `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(join(folder, `${report.section}.svg`), draw(section, report.rows, OURS));
}

/** `results.md`: generated, so that the tables can be read where no chart is shown. */
export function writePage(folder: string, order: readonly string[]): void {
  const present = readdirSync(folder).filter((file) => file.endsWith('.json'));
  const reports = order
    .filter((name) => present.includes(`${name}.json`))
    .map((name) => JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Report);
  const page = `# Results

Written by \`npm run bench\`; [how to read it](../benchmarks.md). Medians of the rounds, and in brackets the least and the greatest.

${reports.map(toMarkdown).join('\n')}`;
  writeFileSync(join(folder, 'results.md'), page);
}

/** For the terminal. */
export function toText(report: Report): string {
  const scenes = grids(report).map(([scene, grid]) => `${scene}\n${table(grid.map(([name, ...cells]) => [`  ${name}`, ...cells]))}`);
  return [
    `\n== ${report.title}`,
    ...scenes,
    ...report.goals.map((goal) => `${markOf(goal)} ${goal.text}: ${goal.value ?? '–'} (to reach: ${goal.bound})`),
  ].join('\n');
}

function toMarkdown(report: Report): string {
  const { title, about, date, command, machine, versions, isQuick, notes } = report;
  const tables = grids(report).map(([scene, grid]) => {
    const [head = [], ...lines] = grid;
    return `**${scene}**\n\n${[head, head.map((_, column) => (column === 0 ? '---' : '---:')), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
  });
  const goals =
    report.goals.length === 0
      ? ''
      : `To reach:\n\n${report.goals.map((goal) => `- ${markOf(goal)} ${goal.text}: **${goal.value ?? '–'}** (${goal.bound})`).join('\n')}\n`;
  return `## ${title}

${about}

![${title}](${report.section}.svg)

${tables.join('\n')}
${goals}
<sub>${date}, \`${command}\`${isQuick ? ' (**quick: shows that it works, not what comes of it**)' : ''}, ${report.rounds} rounds; ${Object.entries(machine)
    .map(([key, value]) => `${key}: ${value}`)
    .join(', ')}; ${Object.entries(versions)
    .map(([key, value]) => `${key} ${value}`)
    .join(', ')}${notes.length > 0 ? `; ${notes.length} notes in the JSON` : ''}</sub>
`;
}

/** A table a scene: competitors down, metrics across. */
function grids({ rows, metrics }: Report): [string, string[][]][] {
  return [...new Set(rows.map(({ scene }) => scene))].map((scene) => {
    const here = rows.filter((row) => row.scene === scene);
    const columns = Object.keys(metrics).filter((metric) => here.some((row) => row.metric === metric));
    const head = columns.flatMap((metric) => [
      `${metric}${metrics[metric]?.unit ? `, ${metrics[metric].unit}` : ''}`,
      ...(metrics[metric]?.isCompared ? ['÷ bare'] : []),
    ]);
    const lines = [...new Set(here.map(({ competitor }) => competitor))].map((competitor) => [
      competitor,
      ...columns.flatMap((metric) => {
        const row = here.find((one) => one.competitor === competitor && one.metric === metric);
        const digits = metrics[metric]?.digits ?? 1;
        const [median, least, greatest] = row === undefined ? [] : [row.median, row.least, row.greatest].map((value) => shown(value, digits));
        const cell = row === undefined ? '' : `${median} (${least}–${greatest})`;
        return metrics[metric]?.isCompared ? [cell, row?.ratio?.toFixed(2) ?? ''] : [cell];
      }),
    ]);
    return [scene, [['', ...head], ...lines]];
  });
}

/** JSON knows no NaN. */
function shown(value: number | null, digits: number): string {
  return value === null || Number.isNaN(value) ? '–' : value.toFixed(digits);
}

function markOf({ isMet }: GoalResult): string {
  return isMet === null ? '–' : isMet ? '✓' : '✗';
}
