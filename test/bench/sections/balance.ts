/** How evenly connections are spread over workers. */
import { connect } from 'node:net';
import { answerOf, pause } from '../ground.ts';
import { type Section, takeTurns, withRunning } from '../section.ts';

const HOLD_MS = 20_000;

export const balance: Section = {
  name: 'balance',
  title: 'Balance',
  about:
    "The busiest worker's share of connections, as a multiple of an even share (1 is perfect; with n workers, n is the worst). A burst: 200 connections at once, kept open. A trickle: 200 one after the other, 5 ms apart, closed after their answer.",
  metrics: { 'max ÷ mean': { unit: '', digits: 2, isDrawn: true } },
  goals: [],
  async run(bench, results) {
    const count = bench.isQuick ? 60 : 200;
    for (const workers of [2, 4, 8]) {
      await takeTurns(
        bench,
        ({ mostWorkers, isNode }) => isNode && mostWorkers >= workers,
        async (competitor) => {
          bench.say(`balance: ${competitor.name}, ${workers} workers`);
          await withRunning(bench, competitor, { workers }, async (running) => {
            await pause(1_000); // all of them accept
            results.add(`burst, ${workers} workers`, competitor.name, { 'max ÷ mean': unevenness(await burst(running.port, count), workers) });
            results.add(`trickle, ${workers} workers`, competitor.name, { 'max ÷ mean': unevenness(await trickle(running.port, count), workers) });
          });
        },
      );
    }
  },
};

function unevenness(answers: readonly string[], workers: number): number {
  const counts = new Map<string, number>();
  for (const pid of answers) counts.set(pid, (counts.get(pid) ?? 0) + 1);
  return Math.max(...counts.values()) / (answers.length / workers);
}

async function burst(port: number, count: number): Promise<string[]> {
  const sockets = Array.from({ length: count }, () => connect({ port, host: '127.0.0.1' }).on('error', () => {}));
  const answers = await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<string>((resolve) => {
          socket.setEncoding('latin1').once('data', (text: string) => resolve(text.split('\r\n').at(-1) || (text.split('\r\n\r\n')[1] ?? '')));
          socket.setTimeout(HOLD_MS, () => resolve(''));
          socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
        }),
    ),
  );
  for (const socket of sockets) socket.destroy();
  return answers;
}

async function trickle(port: number, count: number): Promise<string[]> {
  const answers: string[] = [];
  for (let asked = 0; asked < count; asked++) {
    answers.push((await answerOf(port)) ?? '');
    await pause(5);
  }
  return answers;
}
