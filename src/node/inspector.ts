/**
 * Where a process hangs whose event loop stands still: Node's inspector runs in a thread of its own, and can interrupt even an
 * endless loop.
 *
 * SIGUSR1 starts it (documented), on a loopback port that is found among the process's own sockets in /proc, so Linux only.
 * Undocumented: `process._debugEnd`, which closes it again a moment after the loop turns; tried on 20.20, 22.23, 24.21, 26.10. Missing: it stays open
 * until the process ends. Where the program has taken SIGUSR1 for itself, or is stopped, there is no stack.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { get, request } from 'node:http';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

const PATIENCE_MS = 2_000;
const LOOK_MS = 20;
/** By then nobody is connected any more. */
const LINGER_MS = 500;
const MOST_FRAMES = 12;
const LISTENING = '0A';

interface Script {
  readonly scriptId: string;
  readonly url: string;
}

interface Paused {
  readonly callFrames: readonly {
    readonly functionName: string;
    /** Lines and columns count from 0. */
    readonly location: { readonly scriptId: string; readonly lineNumber: number; readonly columnNumber?: number };
  }[];
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: unknown;
}

/** @param signal sends SIGUSR1 to that process @returns a line a frame, the innermost first; undefined where it can't be had */
export async function stackOf(pid: number, signal: () => void): Promise<string | undefined> {
  if (process.platform !== 'linux') return undefined;
  const before = listeningPorts(pid);
  signal();
  const until = Date.now() + PATIENCE_MS;
  while (Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    for (const port of listeningPorts(pid)) {
      if (before.includes(port)) continue;
      const path = await inspectorPath(port);
      if (path !== undefined) return pausedStack(port, path);
    }
  }
  return undefined;
}

/** Loopback ports that the process listens on. */
function listeningPorts(pid: number): number[] {
  try {
    const sockets = new Set(readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`)));
    const lines = readFileSync(`/proc/${pid}/net/tcp`, 'latin1').split('\n').slice(1);
    return lines.flatMap((line) => {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
      return state === LISTENING && sockets.has(`socket:[${inode}]`) ? [Number.parseInt(local.split(':')[1] ?? '', 16)] : [];
    });
  } catch {
    return []; // ESRCH, ENOENT: it has ended
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // closed meanwhile
  }
}

function inspectorPath(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = get({ host: '127.0.0.1', port, path: '/json/list', agent: false, timeout: PATIENCE_MS }, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      const [, path] = /"webSocketDebuggerUrl": "ws:\/\/[^/"]+(\/[^"]+)"/.exec(text) ?? [];
      resolve(path);
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(undefined)); // another server of its own
  });
}

function pausedStack(port: number, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': randomBytes(16).toString('base64') };
    const asked = request({ host: '127.0.0.1', port, path, headers, agent: false });
    const timer = setTimeout(() => asked.destroy(), PATIENCE_MS);
    const end = (stack?: string) => {
      clearTimeout(timer);
      resolve(stack);
    };
    asked.on('error', () => end());
    asked.on('upgrade', (_response, socket: Socket) => {
      socket.on('error', () => end());
      socket.on('close', () => end());
      socket.setTimeout(PATIENCE_MS, () => socket.destroy());
      const urls = new Map<string, string>();
      onMessage(socket, ({ method, params }) => {
        if (method === 'Debugger.scriptParsed') urls.set((params as Script).scriptId, (params as Script).url);
        if (method === 'Debugger.resumed') socket.end(); // closed any sooner, 1 process in 20 dies of SIGSEGV
        if (method !== 'Debugger.paused') return;
        end(describe(params as Paused, urls));
        send(socket, 'Runtime.evaluate', { expression: `setTimeout(() => process._debugEnd?.(), ${LINGER_MS}).unref()` });
        send(socket, 'Debugger.resume');
      });
      for (const command of ['Debugger.enable', 'Debugger.pause']) send(socket, command);
    });
    asked.end();
  });
}

function describe({ callFrames }: Paused, urls: ReadonlyMap<string, string>): string {
  return callFrames
    .slice(0, MOST_FRAMES)
    .map(({ functionName, location }) => {
      const url = urls.get(location.scriptId) ?? '?';
      const where = url.startsWith('file:') ? fileURLToPath(url) : url;
      return `    at ${functionName || '(anonymous)'} (${where}:${location.lineNumber + 1}:${(location.columnNumber ?? 0) + 1})`;
    })
    .join('\n');
}

let lastId = 0;

/** A masked text frame (RFC 6455 §5.2); commands are short. */
function send(socket: Socket, method: string, params: object = {}): void {
  const payload = Buffer.from(JSON.stringify({ id: ++lastId, method, params }));
  const mask = randomBytes(4);
  const masked = payload.map((byte, index) => byte ^ (mask[index % 4] as number));
  const head = Buffer.from([0x81, 0x80 | 126, payload.length >> 8, payload.length & 0xff]);
  socket.write(Buffer.concat([head, mask, masked]));
}

/** Whole text frames; the inspector neither masks nor fragments. */
function onMessage(socket: Socket, tell: (message: Message) => void): void {
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 2) {
      const short = (rest[1] as number) & 0x7f;
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (rest.length < head) return;
      const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
      if (rest.length < head + length) return;
      const isText = ((rest[0] as number) & 0x0f) === 1;
      if (isText) tell(JSON.parse(rest.toString('utf8', head, head + length)) as Message);
      rest = rest.subarray(head + length);
    }
  });
}
