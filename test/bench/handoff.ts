/**
 * What a reload that moves connections costs its clients: how many move per second, how long nobody reads from one that
 * moves, and how long requests take meanwhile, beside the same without a reload and with the bare start of a process.
 * Prints and asserts nothing. `npm run bench:handoff -- --sizes 50,1000 --rounds 3`; --json prints the rounds alone.
 */
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ask, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { coreTimes, latencies, monotonicMs, quantile, type Request, type Sample, type Span, spread, table } from './measure.ts';

const WORKER = fileURLToPath(new URL('worker.mjs', import.meta.url));
const CLIENTS = fileURLToPath(new URL('clients.ts', import.meta.url));
const BUSY = 50;
const STEADY_MS = 2_000;
const PAUSE_MS = 500;
const LOOK_MS = 5;

const phases = ['steady', 'node start', 'reload: start', 'reload: move', 'reload: end', 'reload: all'] as const;
type Phase = (typeof phases)[number];
type Spans = Readonly<Record<Phase, Span>>;

/** One reload. */
interface Round {
  readonly spans: Spans;
  readonly samples: readonly Sample[];
  readonly errors: readonly string[];
  /** How busy all cores together were while nothing happened but requests, 0 to 1. */
  readonly busyShare: number;
  readonly moved: number;
  /** From the beginning of the drain to the last arrival. */
  readonly movesPerSecond: number;
  /** The same until half of them have arrived: busy ones go last, whenever they are found idle. */
  readonly halfPerSecond: number;
  /** From SIGHUP, and from the beginning of the drain, to the first connection in the successor; milliseconds. */
  readonly hupToFirst: number;
  readonly drainToFirst: number;
  /** For each connection: from its end in the old worker to its arrival in the new one; milliseconds. */
  readonly dark: readonly number[];
}

type Times = readonly (readonly [number, number])[];

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '50,1000,10000' },
    rounds: { type: 'string', default: '5' },
    think: { type: 'string', default: '50' },
    json: { type: 'boolean', default: false },
  },
});
if (!values.json) console.log(describeMachine());
for (const size of values.sizes.split(',').map(Number)) {
  const rounds = await measure(size, Number(values.rounds));
  console.log(values.json ? JSON.stringify({ size, ...summary(rounds) }) : describe(size, rounds));
}

async function measure(idle: number, count: number): Promise<Round[]> {
  using folder = temporaryFolder(); // outlives the master, whose workers write there when they end
  await using rig = await startMaster({ script: WORKER, env: { BENCH: folder.path }, flags: ['--drain-timeout', '120s'] });
  const clients = fork(CLIENTS, [], { execArgv: ['--import', 'tsx'] });
  try {
    await tell(clients, { type: 'open', port: rig.port(), idle, busy: BUSY, thinkMs: Number(values.think) });
    const rounds: Round[] = [];
    for (let round = 1; round <= count; round++) rounds.push(await runRound(rig, clients, join(folder.path, `${round}.json`)));
    return rounds;
  } finally {
    clients.kill('SIGKILL');
  }
}

async function runRound(rig: Rig, clients: ChildProcess, departures: string): Promise<Round> {
  await pause(PAUSE_MS);
  await tell(clients, { type: 'take' });
  const before = coreTimes();
  const steady = await span(() => pause(STEADY_MS));
  const after = coreTimes();
  const start = await span(startPlainly);
  await pause(PAUSE_MS);
  rig.forget();
  const reload = await span(async () => {
    rig.signal('SIGHUP');
    while (rig.all('generation-gone').length === 0 && rig.child.exitCode === null) await pause(LOOK_MS); // it may take longer than a test would wait
  });
  await pause(PAUSE_MS);
  const { samples, errors } = (await tell(clients, { type: 'take' })) as Pick<Round, 'samples' | 'errors'>;
  const { drainedAt, went } = JSON.parse(readFileSync(departures, 'utf8')) as { drainedAt: number; went: Times };
  const cameAt = new Map(JSON.parse((await ask(`${rig.url()}/log`)).text) as Times);
  const wentAt = new Map(went);
  const arrivals = [...cameAt].flatMap(([port, time]) => (wentAt.has(port) ? [time] : [])).sort((a, b) => a - b);
  const half = Math.ceil(arrivals.length / 2);
  const [first, last] = [arrivals[0] ?? Number.NaN, arrivals.at(-1) ?? Number.NaN];
  return {
    spans: {
      steady,
      'node start': start,
      'reload: start': [reload[0], drainedAt],
      'reload: move': [drainedAt, last],
      'reload: end': [last, reload[1]],
      'reload: all': reload,
    },
    samples,
    errors,
    busyShare: (after.busy - before.busy) / (after.all - before.all),
    moved: arrivals.length,
    movesPerSecond: (arrivals.length / (last - drainedAt)) * 1000,
    halfPerSecond: (half / ((arrivals[half - 1] ?? Number.NaN) - drainedAt)) * 1000,
    hupToFirst: first - reload[0],
    drainToFirst: first - drainedAt,
    dark: [...cameAt].flatMap(([port, time]) => [time - (wentAt.get(port) ?? Number.NaN)]).filter((time) => !Number.isNaN(time)),
  };
}

/** The same program without a supervisor, until it listens. */
async function startPlainly(): Promise<void> {
  const child = fork(WORKER, [], { env: { ...process.env, BENCH: '' } });
  await once(child, 'message');
  child.kill('SIGKILL');
}

async function span(run: () => Promise<void>): Promise<Span> {
  const from = monotonicMs();
  await run();
  return [from, monotonicMs()];
}

async function tell(clients: ChildProcess, request: Request): Promise<unknown> {
  clients.send(request);
  const [answer] = await Promise.race([once(clients, 'message'), once(clients, 'exit').then(() => Promise.reject(new Error('the clients died')))]);
  return answer;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function describeMachine(): string {
  const limit = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim();
  const load = loadavg()[0]?.toFixed(2);
  return `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim()}, load ${load}, at most ${limit} descriptors a process; one old worker, one new one,
${BUSY} clients ask again and again, idle connections are asked by chance. All times in ms; median (least–greatest) of the rounds.`;
}

function describe(size: number, rounds: readonly Round[]): string {
  const errors = rounds.flatMap((round) => round.errors);
  const of = (number: (round: Round) => number) => spread(rounds.map(number), 0);
  const dark = (share: number) =>
    spread(
      rounds.map((round) => quantile(round.dark, share)),
      2,
    );
  return `
${size} idle and ${BUSY} busy connections, ${rounds.length} reloads
  cores busy before it  ${of(({ busyShare }) => 100 * busyShare)} %
  moved                 ${of(({ moved }) => moved)}, failed requests and connections: ${errors.length}${errors.length > 0 ? ` (${errors[0]})` : ''}
  moves per second      all ${of((round) => round.movesPerSecond)}, the first half ${of((round) => round.halfPerSecond)}
  first move after      HUP ${of(({ hupToFirst }) => hupToFirst)}, drain ${of(({ drainToFirst }) => drainToFirst)}
  nobody reads from it  p50 ${dark(0.5)}, p99 ${dark(0.99)}, max ${dark(1)}
${latencyTable('busy', rounds)}
${latencyTable('idle', rounds)}`;
}

function latencyTable(kind: Sample['kind'], rounds: readonly Round[]): string {
  const rows = phases.map((phase) => {
    const all = rounds.map(({ samples, spans }) => latencies(samples, kind, spans[phase]));
    const ratios = rounds.map((round) => ratioToSteady(round, kind, phase));
    const of = (share: number) => spread(all.map((numbers) => quantile(numbers, share)));
    const lasted = rounds.map(({ spans }) => spans[phase][1] - spans[phase][0]);
    return [phase, spread(lasted, 0), String(all.flat().length), of(0.5), of(0.99), of(1), spread(ratios)];
  });
  return table([
    [`  latency, ${kind}`, 'lasts', 'requests', 'p50', 'p99', 'max', 'p99 ÷ steady p99'],
    ...rows.map(([name, ...rest]) => [`    ${name}`, ...rest]),
  ]);
}

function ratioToSteady({ samples, spans }: Round, kind: Sample['kind'], phase: Phase): number {
  return quantile(latencies(samples, kind, spans[phase]), 0.99) / quantile(latencies(samples, kind, spans.steady), 0.99);
}

/** For a comparison of variants: the numbers of each round. */
function summary(rounds: readonly Round[]) {
  const p = (kind: Sample['kind'], phase: Phase, share: number) =>
    rounds.map(({ samples, spans }) => round1(quantile(latencies(samples, kind, spans[phase]), share)));
  return {
    errors: rounds.flatMap(({ errors }) => errors).length,
    busy: rounds.map(({ busyShare }) => round1(busyShare)),
    rate: rounds.map(({ movesPerSecond }) => Math.round(movesPerSecond)),
    half: rounds.map(({ halfPerSecond }) => Math.round(halfPerSecond)),
    drainToFirst: rounds.map(({ drainToFirst }) => round1(drainToFirst)),
    darkP50: rounds.map(({ dark }) => round1(quantile(dark, 0.5))),
    darkP99: rounds.map(({ dark }) => round1(quantile(dark, 0.99))),
    darkMax: rounds.map(({ dark }) => round1(quantile(dark, 1))),
    steadyP99: p('busy', 'steady', 0.99),
    moveP99: p('busy', 'reload: move', 0.99),
    idleSteadyP99: p('idle', 'steady', 0.99),
    idleMoveP99: p('idle', 'reload: move', 0.99),
    idleMoveMax: p('idle', 'reload: move', 1),
  };
}

function round1(number: number): number {
  return Math.round(number * 10) / 10;
}
