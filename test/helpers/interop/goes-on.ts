/** The promise that is tried with every client: its connections go on through reloads, and it can't tell. */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { poll, type Rig, root, startMaster } from '../rig.ts';
import { makeCertificate } from '../wire.ts';
import type { Client, Target } from './clients.ts';
import type { Protocol, Talker } from './talker.ts';

export interface Course {
  readonly client: Client;
  readonly protocol: Protocol;
  /** How many of them. */
  readonly count?: number;
  readonly reloads: number;
  /** What is written goes into a folder of it. */
  readonly folder: string;
  readonly pauseMs?: number;
}

const ENOUGH = 5;
/** A client that talks all the time is quiet between two of its questions; long before that it has moved. */
const DRAIN = ['--drain-timeout', '10s'];

/** Reloads while they talk. @throws AssertionError unless all answers were right, on the connections that were opened at first */
export async function goesOn(course: Course): Promise<void> {
  const { client, protocol, count = 1, reloads } = course;
  const { ca, files } = makeCertificate(mkdtempSync(join(course.folder, 'certificate-')));
  await using rig = await startMaster({
    script: client.script ?? 'speaks.mjs',
    args: [protocol],
    env: { ...files, GRACEFUL_SUPER: join(root, 'dist/index.js') },
    flags: protocol === 'h2c' ? DRAIN : ['--handoff-tls', ...DRAIN], // without TLS it moves by itself
  });
  const target = { protocol, port: rig.port(), ca, caFile: files.CERT, ...(course.pauseMs !== undefined && { pauseMs: course.pauseMs }) };
  const talkers: Talker[] = [];
  try {
    for (let number = 0; number < count; number++)
      talkers.push(await client.start({ ...target, folder: mkdtempSync(join(course.folder, 'client-')) } satisfies Target));
    for (let generation = 1; generation <= reloads; generation++) await reload(rig, talkers, generation);
    await answered(talkers, ENOUGH);
  } finally {
    await Promise.all(talkers.map((talker) => talker[Symbol.asyncDispose]()));
  }
  judge(course, rig, talkers);
}

async function reload(rig: Rig, talkers: readonly Talker[], generation: number): Promise<void> {
  await answered(talkers, ENOUGH);
  assert.equal((await rig.hup())['outcome'], 'committed');
  await rig.until('worker-drained', (event) => event['generation'] === generation);
}

/** Each has had so many right answers more, or something went wrong. */
async function answered(talkers: readonly Talker[], more: number): Promise<void> {
  const goals = talkers.map((talker) => ({ talker, goal: talker.answered + more }));
  const left = () => goals.filter(({ talker, goal }) => talker.answered < goal && talker.mistakes.length === 0);
  await poll(
    () => left().length === 0,
    () => `${left().length} of ${talkers.length} clients wait for answers`,
  );
}

function judge({ client, count = 1, reloads }: Course, rig: Rig, talkers: readonly Talker[]): void {
  const mistakes = talkers.flatMap((talker) => talker.mistakes);
  const [accepted, adopted] = [counted(rig, 'accepted'), counted(rig, 'adopted')];
  if (client.isShy) return assert.deepEqual({ mistakes, areFew: accepted <= reloads + 1 }, { mistakes: [], areFew: true });
  const connections = count * (client.connections ?? 1);
  assert.deepEqual({ mistakes, accepted, adopted }, { mistakes: [], accepted: connections, adopted: connections * reloads });
}

/** At the server. */
function counted(rig: Rig, word: string): number {
  return rig.stdout.split('\n').filter((line) => line === word).length;
}
