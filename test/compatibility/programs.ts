/** Talks to an example program that runs by plain `node`, and to the same one under a master: not a byte may differ. */
import { join } from 'node:path';
import { type Answer, type Conversation, closing, converse, overHttp, overProxyLine, overSmtp, overSocketIo, overWebSocket, upgrade } from './conversations.ts';
import { start, type Way, ways } from './runs.ts';

/** The programs of the folder `programs`, and what is said to each. */
export const programs: Readonly<Record<string, readonly Conversation[]>> = {
  'node-http.cjs': [...overHttp, upgrade, closing],
  'express.cjs': [...overHttp, closing],
  'fastify.mjs': [...overHttp, closing],
  'finds-port.mjs': [closing],
  'hapi.cjs': [...overHttp, closing],
  'hono.mjs': [...overHttp, closing],
  'koa.cjs': [...overHttp, closing],
  'log4js.cjs': [closing],
  'polka.cjs': [...overHttp, closing],
  'proxy-line.cjs': overProxyLine,
  'restify.cjs': [...overHttp, closing],
  'smtp-server.cjs': overSmtp,
  'socket-io.cjs': overSocketIo,
  'ws.cjs': overWebSocket,
};

/** Something that was seen one way and not the other. */
export interface Difference {
  readonly what: string;
  readonly plain: unknown;
  readonly supervised: unknown;
}

const LIMIT_MS = 60_000;

/** Runs a program both ways, says the same to it, and waits for its end. @returns how many answers were compared, and what differs */
export async function compareProgram(folder: string, file: string): Promise<{ readonly answers: number; readonly differences: readonly Difference[] }> {
  const [plain, supervised] = await Promise.all(ways.map((way) => talk(way, folder, file)));
  return { answers: plain?.length ?? 0, differences: plain && supervised ? differencesOf(plain, supervised) : [] };
}

async function talk(way: Way, folder: string, file: string): Promise<Answer[]> {
  const run = start(way, { file: join(folder, file), cwd: folder, limitMs: LIMIT_MS });
  const [, port] = await run.said(/listening (\d+)\n/);
  const answers = await converse(Number(port), programs[file] ?? []).catch((error: Error) => [{ name: 'conversation', text: error.message, ended: 'failed' }]);
  if (answers.some(({ ended }) => ended === 'failed')) run.child.kill('SIGTERM');
  const { end, stdout } = await run.ended;
  return [...answers, { name: 'the end', text: stdout.replace(/listening \d+/, 'listening'), ended: String(end) }];
}

function differencesOf(plain: readonly Answer[], supervised: readonly Answer[]): Difference[] {
  return plain.flatMap((answer, at) => {
    const other = supervised[at];
    const isSame = answer.text === other?.text && answer.ended === other.ended;
    return isSame ? [] : [{ what: answer.name, plain: answer, supervised: other }];
  });
}
