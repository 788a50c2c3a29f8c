/** Clients that are large, or come from npm: they talk over their connections through many reloads. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Client, Target } from '../helpers/interop/clients.ts';
import { keepAsking, type Talker } from '../helpers/interop/talker.ts';

/** What they are made of. */
export const clientPackages: readonly string[] = ['@grpc/grpc-js@1.14.7', 'playwright-core@1.65.1'];

const CHROMIUM = '/usr/bin/chromium';

/** @param modules where their packages are installed, and the programs that need them */
export function largeClients(modules: string): Client[] {
  const load = createRequire(join(modules, 'package.json'));
  const browse = (target: Target) => talkByChromium(load('playwright-core') as Playwright, target);
  return [
    {
      name: 'grpc-js',
      speaks: ['h2c', 'h2'],
      script: join(modules, 'programs/grpc.cjs'),
      start: (target) => talkByGrpc(load('@grpc/grpc-js') as Grpc, target),
    },
    { name: 'Chromium', speaks: ['https', 'h2'], needs: 'chromium', start: browse },
    { name: 'Chromium with a WebSocket', speaks: ['wss'], needs: 'chromium', connections: 2, start: browse },
  ];
}

/** Debian has it; only root can install it. */
export function installChromium(): void {
  if (existsSync(CHROMIUM) || process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return;
  const options = { stdio: 'inherit', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } } as const;
  spawnSync('apt-get', ['update', '-q'], options);
  spawnSync('apt-get', ['install', '-qy', '--no-install-recommends', 'chromium'], options);
}

/** What is used of @grpc/grpc-js. */
interface Grpc {
  readonly credentials: { createInsecure(): unknown; createSsl(ca: Buffer): unknown };
  readonly Client: new (address: string, credentials: unknown, options: object) => GrpcClient;
}

type Write = (value: unknown) => Buffer;
type Read = (bytes: Buffer) => { readonly number: number };

interface GrpcClient {
  makeUnaryRequest(path: string, write: Write, read: Read, argument: object, done: (error: Error | null, value?: { readonly number: number }) => void): void;
  makeServerStreamRequest(path: string, write: Write, read: Read, argument: object): NodeJS.ReadableStream;
  close(): void;
}

const write: Write = (value) => Buffer.from(JSON.stringify(value));
const read: Read = (bytes) => JSON.parse(String(bytes));
const STREAM = 20;

/** Three calls at once and a stream; nothing is tried again. */
function talkByGrpc({ credentials, Client: GrpcClient }: Grpc, { protocol, port, ca }: Target): Talker {
  const secure = protocol === 'h2' ? credentials.createSsl(Buffer.from(ca)) : credentials.createInsecure();
  const client = new GrpcClient(`127.0.0.1:${port}`, secure, { 'grpc.enable_retries': 0 });
  const call = (number: number) =>
    new Promise<number>((resolve, reject) => {
      client.makeUnaryRequest('/service/ask', write, read, { number }, (error, value) => (error ? reject(error) : resolve(Number(value?.number))));
    });
  const count = async () => {
    let sum = 0;
    for await (const value of client.makeServerStreamRequest('/service/count', write, read, { until: STREAM }))
      sum += (value as unknown as { number: number }).number;
    return sum;
  };
  const ask = async (number: number) => {
    const got = await Promise.all([call(number), call(number + 1), call(number + 2), count()]);
    const wanted = [number, number + 1, number + 2, (STREAM * (STREAM + 1)) / 2];
    return `${got}` === `${wanted}` ? undefined : `got ${got} instead of ${wanted}`;
  };
  return keepAsking({ ask, close: () => client.close() });
}

/** What is used of playwright-core. */
interface Playwright {
  readonly chromium: { launch(options: object): Promise<Browser> };
}

interface Browser {
  newContext(options: object): Promise<{ newPage(): Promise<Page> }>;
  close(): Promise<void>;
}

interface Page {
  goto(url: string): Promise<unknown>;
  exposeFunction(name: string, act: (mistake?: string) => void): Promise<void>;
  evaluate(script: string): Promise<unknown>;
}

/** Runs in the page: it fetches, and where the program speaks WebSockets sends messages as well. */
const script = (isWebSocket: boolean) => `(async () => {
  const webSocket = ${isWebSocket} ? new WebSocket('wss://' + location.host) : undefined;
  const texts = [];
  let wake = () => {};
  if (webSocket) {
    webSocket.onmessage = ({ data }) => { if (/^\\d/.test(data)) texts.push(data); wake(); };
    webSocket.onclose = ({ code }) => told('the WebSocket was closed with ' + code);
    await new Promise((resolve) => { webSocket.onopen = resolve; });
  }
  for (let number = 1; ; number++) {
    const text = await fetch('/' + number).then((response) => response.text(), String);
    if (text.replace(/^\\d+ /, '') !== '/' + number) return told('fetched ' + text + ' instead of /' + number);
    if (webSocket) {
      webSocket.send('message ' + number);
      while (texts.length < number) await new Promise((resolve) => { wake = resolve; });
      if (!new RegExp('^' + number + ' \\\\d+ message ' + number + '$').test(texts[number - 1])) return told('got ' + texts[number - 1]);
    }
    await told();
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
})().catch((error) => told(String(error)))`;

async function talkByChromium({ chromium }: Playwright, { protocol, port }: Target): Promise<Talker> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  let [answered, isStopping] = [0, false];
  const mistakes: string[] = [];
  await page.exposeFunction('told', (mistake) => {
    if (mistake === undefined || mistake === null) answered++;
    else if (!isStopping) mistakes.push(mistake);
  });
  await page.goto(`https://127.0.0.1:${port}/1`);
  await page.evaluate(`void ${script(protocol === 'wss')}`);
  return {
    get answered() {
      return answered;
    },
    mistakes,
    async [Symbol.asyncDispose]() {
      isStopping = true;
      await browser.close();
    },
  };
}
