/**
 * Clients that know how many requests each has sent, and by the answers who owned their connection at any time: HTTP tells
 * the number of the request in its process, TCP the number of the line on its connection (fixture counts-requests).
 */
import { connect, type Socket } from 'node:net';
import { poll, type Rig } from './rig.ts';

const PATIENCE_MS = 30_000;

export type Kind = 'http' | 'tcp';

/** One connection, and what came over it. */
export class Client {
  readonly kind: Kind;
  readonly socket: Socket;
  /** Who answered last. */
  pid = 0;
  /** `FIN` or the code of an error; undefined while it is open. */
  ended: string | undefined;
  /** It was told that its connection closes. */
  isToldToClose = false;
  /** Requests that wait for their answers. */
  readonly waiting: string[] = [];
  answered = 0;
  readonly port: number;
  /** What the fixture calls it: a client may have the same port towards both servers. */
  readonly key: string;
  readonly #crowd: Crowd;
  #sent = 0;
  #rest = '';
  #look = () => {};

  constructor(crowd: Crowd, kind: Kind, socket: Socket) {
    this.#crowd = crowd;
    this.kind = kind;
    this.socket = socket;
    this.port = socket.localPort as number;
    this.key = `${socket.remotePort}:${socket.localPort}`;
    const end = (how: string) => {
      this.ended ??= how;
      this.#look();
    };
    socket.setEncoding('latin1').on('data', (text: string) => this.#read(text));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.on('end', () => end('FIN'));
  }

  get isOpen(): boolean {
    return this.ended === undefined && !this.isToldToClose;
  }

  /** Sends so many requests at once, and waits for the answers, or for the end. */
  async ask(count = 1): Promise<void> {
    if (!this.isOpen) return;
    const ids = Array.from({ length: count }, () => `${this.port}-${++this.#sent}`);
    this.waiting.push(...ids);
    this.socket.write(ids.map((id) => (this.kind === 'tcp' ? `${id}\n` : `GET /${id} HTTP/1.1\r\nHost: x\r\n\r\n`)).join(''));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#complain(`waits for ${this.waiting}, answered by ${this.pid} last`), PATIENCE_MS);
      this.#look = () => {
        if (this.isOpen && this.waiting.length > 0 && this.#crowd.mistakes.length === 0) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  close(): void {
    this.socket.destroy();
  }

  #read(text: string): void {
    this.#rest += text;
    for (;;) {
      const answer = this.kind === 'tcp' ? this.#line() : this.#response();
      if (answer === undefined) break;
      this.#check(answer);
    }
    this.#look();
  }

  #check([pid, number, id]: readonly [number, number, string]): void {
    const expected = this.waiting.shift();
    if (id !== expected) this.#complain(`was answered ${id} by ${pid} instead of ${expected}, answered by ${this.pid} before`);
    if (this.kind === 'tcp' && `${this.port}-${number}` !== id)
      this.#complain(`was answered ${id} as line ${number} by ${pid}, answered by ${this.pid} before`);
    if (this.kind === 'http' && !this.#crowd.isNew(pid, number)) this.#complain(`${pid} has answered ${number} before`);
    this.pid = pid;
    this.answered++;
  }

  #line(): [number, number, string] | undefined {
    const end = this.#rest.indexOf('\n');
    if (end < 0) return undefined;
    const [pid, count, id = ''] = this.#rest.slice(0, end).split(' ');
    this.#rest = this.#rest.slice(end + 1);
    return [Number(pid), Number(count), id];
  }

  #response(): [number, number, string] | undefined {
    const end = this.#rest.indexOf('\r\n\r\n') + 4;
    if (end < 4) return undefined;
    const head = this.#rest.slice(0, end);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
    if (!head.startsWith('HTTP/1.1 200') || Number.isNaN(length)) this.#complain(`was answered ${JSON.stringify(this.#rest)} by nobody knows whom`);
    if (!(this.#rest.length >= end + length)) return undefined;
    const { pid, request, id } = JSON.parse(this.#rest.slice(end, end + length)) as { pid: number; request: number; id: string };
    this.#rest = this.#rest.slice(end + length);
    if (/^connection: close/im.test(head)) this.isToldToClose = true;
    return [pid, request, id];
  }

  #complain(what: string): void {
    this.#crowd.mistakes.push(`${this.kind} ${this.port} ${what}`);
    this.#look();
  }
}

/** All clients of a test. */
export class Crowd implements Disposable {
  clients: Client[] = [];
  /** Answers that should never have been. */
  readonly mistakes: string[] = [];
  answers = 0;
  readonly #rig: Rig;
  readonly #owners = new Map<string, number>();
  readonly #requests = new Map<number, Set<number>>();
  #adoptions: { readonly pid: number; readonly key: string }[] = [];
  #parsed = 0;
  #isTalking = false;
  #talks: Promise<void>[] = [];

  constructor(rig: Rig) {
    this.#rig = rig;
  }

  isNew(pid: number, request: number): boolean {
    this.answers++;
    const known = this.#requests.get(pid) ?? new Set();
    this.#requests.set(pid, known);
    return known.size !== known.add(request).size;
  }

  /** Opens connections until there are so many of each kind, and has each served once. */
  async fill(each: number, kinds: readonly Kind[] = ['http', 'tcp']): Promise<void> {
    this.clients = this.clients.filter((client) => client.isOpen);
    for (const kind of kinds) {
      for (let count = this.clients.filter((client) => client.kind === kind).length; count < each; count++) await this.#dial(kind);
    }
    await this.askAll();
  }

  /** One request on each connection. */
  async askAll(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.ask()));
  }

  /** Half of the clients send one request after the other from now on, sometimes several at once. */
  talk(): void {
    this.#isTalking = true;
    this.#talks = this.#talkers().map(async (client, index) => {
      for (let turn = index; this.#isTalking && client.isOpen && this.mistakes.length === 0; turn++) {
        await client.ask(1 + (turn % 3));
        await new Promise((resolve) => setTimeout(resolve, (turn * 7) % 20));
      }
    });
  }

  /** Every client that talks, and can, has had so many more answers. */
  async talked(answers: number): Promise<void> {
    const goals = this.#talkers().map((client) => ({ client, goal: client.answered + answers }));
    await poll(
      () => goals.every(({ client, goal }) => !client.isOpen || client.answered >= goal),
      () => `answers are missing: ${this.mistakes}`,
    );
  }

  async rest(): Promise<void> {
    this.#isTalking = false;
    await Promise.all(this.#talks);
  }

  /** Who had a connection last, as far as the workers have told. */
  ownerOf(client: Client): number {
    this.#parse();
    return this.#owners.get(client.key) ?? client.pid;
  }

  /** A worker has had it, had handed it over, and has got it again. */
  hasComeBack(client: Client, pid: number): boolean {
    this.#parse();
    return this.#owners.get(client.key) === pid;
  }

  /** What was adopted since this was asked last. */
  takeAdoptions(): readonly { readonly pid: number; readonly key: string }[] {
    this.#parse();
    return this.#adoptions.splice(0);
  }

  [Symbol.dispose](): void {
    this.#isTalking = false;
    for (const client of this.clients) client.close();
  }

  #dial(kind: Kind): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port: this.#rig.port(kind === 'http' ? 0 : 1), host: '127.0.0.1', noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        this.#parse();
        const client = new Client(this, kind, socket);
        this.#owners.delete(client.key); // of an earlier connection from the same port
        this.clients.push(client);
        resolve();
      });
    });
  }

  #talkers(): Client[] {
    return this.clients.filter((_, index) => index % 2 === 0);
  }

  #parse(): void {
    const end = this.#rig.stdout.lastIndexOf('\n') + 1;
    const lines = this.#rig.stdout.slice(this.#parsed, end).matchAll(/^adopted (\d+) (\d+:\d+)$/gm);
    this.#parsed = end;
    for (const [, pid, key = ''] of lines) {
      this.#owners.set(key, Number(pid));
      this.#adoptions.push({ pid: Number(pid), key });
    }
  }
}
