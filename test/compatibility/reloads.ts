/** Reloads programs, and commands of packages, under load: no request is lost, and each is ended by its own means, in time. */
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { type Rig, startMaster } from '../helpers/rig.ts';

/** What is started, and how it is known. */
export interface Reloaded {
  /** In the folder `programs`, or a file of a package. */
  readonly script: string;
  /** `PORT` stands for a port that is free. */
  readonly args?: readonly string[];
  readonly flags?: readonly string[];
  readonly path?: string;
  /** What a client says before its first request. */
  readonly greeting?: string;
  /** What each worker says at its end. */
  readonly says?: string;
  /** Its connections stay with their workers, and end. */
  readonly stays?: boolean;
  /** Why it can't be reloaded so. */
  readonly refused?: string;
}

/** What came of it. */
export interface Load {
  answered: number;
  connections: number;
  readonly complaints: string[];
}

const CLIENTS = 10;
const RELOADS = 3;
/** Answers between two reloads. */
const ANSWERS = 100;

const shutDown = (library: string): Reloaded => ({ script: 'shuts-down.cjs', args: [library], says: 'shut down' });
const serve = (port: string): Reloaded => ({
  script: 'serve/build/main.js',
  args: ['-l', `tcp://127.0.0.1:${port}`, '-L', 'programs'],
  path: '/plugin.cjs',
});

export const reloaded: Readonly<Record<string, Reloaded>> = {
  'node:http': { script: 'node-http.cjs' },
  Express: { script: 'express.cjs' },
  Fastify: { script: 'fastify.mjs' },
  'Fastify CLI': { script: 'fastify-cli/cli.js', args: ['start', '-p', 'PORT', 'programs/plugin.cjs'] },
  Hapi: { script: 'hapi.cjs' },
  Hono: { script: 'hono.mjs' },
  Koa: { script: 'koa.cjs' },
  NestJS: { script: 'nest.cjs', says: 'shut down by SIGTERM' },
  Polka: { script: 'polka.cjs' },
  Restify: { script: 'restify.cjs' },
  'Socket.IO': { script: 'socket-io.cjs', path: '/socket.io/socket.io.js' },
  'tsx, loader': { script: 'typed.ts', flags: ['--node-arg=--import=tsx'] },
  'tsx, command': { script: 'tsx/dist/cli.mjs', args: ['programs/typed.ts'] },
  OpenTelemetry: { script: 'express.cjs', flags: ['--node-arg=--require=./programs/instrumentation.cjs'], says: 'spans are flushed' },
  'PROXY line': { script: 'proxy-line.cjs', greeting: 'PROXY TCP4 10.1.2.3 10.0.0.1 1 2\r\n', stays: true },
  serve: serve('0'),
  'serve, a port': { ...serve('PORT'), refused: 'the new code does not listen on' }, // it connects there first, to see whether somebody does
  'vite preview': { script: 'vite/bin/vite.js', args: ['preview', '--outDir', 'programs', '--strictPort', '--port', 'PORT'], path: '/plugin.cjs' },
  '@godaddy/terminus': shutDown('@godaddy/terminus'),
  'close-with-grace': shutDown('close-with-grace'),
  'http-graceful-shutdown': shutDown('http-graceful-shutdown'),
  'http-shutdown': shutDown('http-shutdown'),
  'http-terminator': shutDown('http-terminator'),
  lightship: shutDown('lightship'),
  'server-destroy': shutDown('server-destroy'),
  stoppable: shutDown('stoppable'),
};

/** Starts it in the folder where its packages are, reloads it while clients ask, and stops it. */
export async function reloadUnderLoad(folder: string, trial: Reloaded): Promise<Load> {
  const load: Load = { answered: 0, connections: 0, complaints: [] };
  const { script, args = [], flags = [], refused } = trial;
  const port = String(await freePort());
  await using rig = await startMaster({
    script: join(folder, script.includes('/') ? 'node_modules' : 'programs', script),
    args: args.map((each) => each.replace('PORT', port)),
    flags,
    cwd: folder,
  });
  const clients = startClients(rig, trial, load);
  for (let reload = 0; reload < RELOADS; reload++) {
    await clients.answered(ANSWERS);
    const { outcome, message } = await rig.hup();
    if (refused === undefined ? outcome !== 'committed' : !message.includes(refused)) load.complaints.push(message);
  }
  await clients.answered(ANSWERS);
  await clients.stop();
  const { code } = await rig.stop();
  if (code !== 0) load.complaints.push(`ends with ${code}`);
  load.complaints.push(...complaintsOf(rig, trial, load));
  return load;
}

function complaintsOf(rig: Rig, { says, refused, stays = false }: Reloaded, { connections }: Load): string[] {
  const ended = says === undefined ? RELOADS + 1 : rig.stdout.split(says).length - 1;
  const warnings = rig.events.filter(({ level, event }) => (level === 'warn' || level === 'error') && !(refused && event === 'reload-finished'));
  return [
    ...warnings.map(({ message }) => message),
    ...(ended === RELOADS + 1 ? [] : [`"${says}" is said ${ended} times:\n${rig.stdout}`]),
    ...(stays || connections === CLIENTS ? [] : [`${CLIENTS} clients had to open ${connections} connections`]),
  ];
}

/** Each with a connection that it keeps, if it may. */
function startClients(rig: Rig, trial: Reloaded, load: Load) {
  let isStopping = false;
  const wakers = new Set<() => void>();
  const work = async () => {
    const agent = agentFor(rig.port(), trial, load);
    while (!isStopping && load.complaints.length < CLIENTS) {
      await ask(agent, trial.path ?? '/').catch((error: NodeJS.ErrnoException) => load.complaints.push(`a request failed: ${error.code ?? error.message}`));
      load.answered++;
      for (const wake of wakers) wake();
    }
    agent.destroy();
  };
  const all = Array.from({ length: CLIENTS }, work);
  return {
    answered(more: number): Promise<void> {
      const goal = load.answered + more;
      return new Promise((resolve) => {
        const wake = () => {
          if (load.answered < goal && load.complaints.length < CLIENTS) return;
          wakers.delete(wake);
          resolve();
        };
        wakers.add(wake);
        wake();
      });
    },
    async stop(): Promise<void> {
      isStopping = true;
      await Promise.all(all);
    },
  };
}

function agentFor(port: number, { greeting }: Reloaded, load: Load): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  agent.createConnection = () => {
    load.connections++;
    const socket = connect({ port, host: '127.0.0.1' });
    if (greeting !== undefined) socket.write(greeting);
    return socket;
  };
  return agent;
}

async function ask(agent: Agent, path: string): Promise<void> {
  const sent = request({ agent, path });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  for await (const _ of response); // to its end
  if (response.statusCode !== 200) throw new Error(`answer ${response.statusCode}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
