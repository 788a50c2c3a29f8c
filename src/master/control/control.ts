/** The control socket: what the command line, and `curl --unix-socket`, can ask of a running master. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { CONTROL_PROTOCOL, type ControlLine, PROTOCOL_HEADER, type Status } from '../../protocol/control.ts';
import { type Command, parseCommand } from './command.ts';

/** What the control socket gives access to. */
export interface Control {
  /** Of the package. */
  readonly version: string;
  status(): Promise<Status>;
  /** Asks for something; `tell` hears of everything that happens until, as the last line, its outcome. @returns stops telling */
  ask(command: Command, tell: (line: ControlLine) => void): () => void;
  /** Asks for a stop; `tell` hears of everything until, as the last line, the end. @returns stops telling */
  stop(tell: (line: ControlLine) => void): () => void;
}

const paths: Readonly<Record<string, string>> = {
  '/status': 'GET',
  '/reload': 'POST',
  '/promote': 'POST',
  '/rollback': 'POST',
  '/scale': 'POST',
  '/stop': 'POST',
};

/** Bytes that wait for one who asked. */
const MOST_BACKLOG = 256 * 1024;
/** More are hung up on: nobody may keep the master from what it is for. */
const MOST_CALLERS = 1000;

/** Answers requests from now on. */
export function serveControl(server: Server, control: Control): void {
  server.maxConnections = MOST_CALLERS;
  server.on('request', (request, response) => void answer(control, request, response).catch((error) => fail(response, 500, String(error))));
}

async function answer(control: Control, request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.resume();
  response.setHeader('Server', `graceful-super/${control.version}`).setHeader(PROTOCOL_HEADER, CONTROL_PROTOCOL);
  const { [PROTOCOL_HEADER]: theirs = CONTROL_PROTOCOL } = request.headers;
  if (theirs !== CONTROL_PROTOCOL) return fail(response, 409, `this master speaks protocol ${CONTROL_PROTOCOL}, not ${theirs}`);
  const [pathname = '', query] = (request.url ?? '').split('?');
  const method = paths[pathname];
  if (method === undefined) return fail(response, 404, `no such path: ${pathname}; there are ${Object.keys(paths).join(', ')}`);
  if (request.method !== method) return fail(response.setHeader('Allow', method), 405, `${pathname} takes ${method}`);
  if (pathname === '/status') return sendJson(response, 200, await control.status());
  const command = pathname === '/stop' ? null : parseCommand(pathname, new URLSearchParams(query));
  if (command !== null && 'mistake' in command) return fail(response, 400, command.mistake);
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  response.flushHeaders();
  const tell = (line: ControlLine) => {
    // who does not read misses what happens, but not how it ends
    if (line.type === 'event' && response.writableLength > MOST_BACKLOG) return;
    response.write(`${JSON.stringify(line)}\n`);
    if (line.type !== 'event') response.end();
  };
  const silence = command === null ? control.stop(tell) : control.ask(command, tell);
  response.on('close', silence);
  response.on('error', silence); // EPIPE: whoever asked is gone
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent) return void response.end();
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
}

function fail(response: ServerResponse, status: number, error: string): void {
  sendJson(response, status, { error });
}
