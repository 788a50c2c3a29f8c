/** A client on a raw connection that sees every byte, and how the connection ended. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';

const PATIENCE_MS = 30_000;

/** One connection. */
export class Wire {
  readonly socket: Socket;
  /** All that was received, a byte a character. */
  text = '';
  /** `FIN`, or the code of the error; undefined while it is open. */
  ended: string | undefined;
  readonly #lookers = new Set<() => void>();

  constructor(socket: Socket) {
    this.socket = socket;
    const end = (how: string) => {
      this.ended ??= how;
      this.#look();
    };
    socket.setEncoding('latin1').on('data', (text: string) => {
      this.text += text;
      this.#look();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.on('end', () => end('FIN'));
    socket.on('close', () => end('closed here'));
  }

  write(text: string): void {
    this.socket.write(text);
  }

  /** Vanishes without a goodbye. */
  reset(): void {
    const { _parent: below } = this.socket as unknown as { readonly _parent: Socket | null };
    (below ?? this.socket).resetAndDestroy();
  }

  /** Waits until so much was received. */
  until(pattern: RegExp | string | ((wire: Wire) => boolean)): Promise<void> {
    return this.#wait(
      () => (typeof pattern === 'function' ? pattern(this) : typeof pattern === 'string' ? this.text.includes(pattern) : pattern.test(this.text)),
      () => `waited for ${pattern}, got ${JSON.stringify(this.text.slice(-500))}`,
    );
  }

  /** How the connection ended. */
  async end(): Promise<string> {
    await this.#wait(
      () => this.ended !== undefined,
      () => `the connection is still open, got ${JSON.stringify(this.text.slice(-500))}`,
    );
    return this.ended as string;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #look(): void {
    for (const look of [...this.#lookers]) look();
  }

  #wait(isSo: () => boolean, complaint: () => string): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#lookers.delete(look);
        settle();
      };
      const timer = setTimeout(() => finish(() => reject(new Error(complaint()))), PATIENCE_MS);
      const look = () => {
        if (isSo()) finish(resolve);
        else if (this.ended !== undefined) finish(() => reject(new Error(`${this.ended}: ${complaint()}`)));
      };
      this.#lookers.add(look);
      look();
    });
  }
}

/** Where a master listens, and what it is trusted by if it speaks TLS. */
export interface Target {
  readonly port: number;
  readonly ca?: string | undefined;
}

/** Opens a connection, encrypted where the other side is. */
export function open({ port, ca }: Target): Socket {
  const there = { port, host: '127.0.0.1', noDelay: true };
  return ca === undefined ? connect(there) : connectTls({ ...there, servername: 'localhost', ca });
}

/** Opens a connection. */
export function dial(target: NetConnectOpts): Promise<Wire> {
  return opened(connect(target), 'connect');
}

/** Opens an encrypted connection. */
export function dialTls(options: ConnectionOptions): Promise<Wire> {
  const socket = connect({ host: '127.0.0.1', noDelay: true, ...options } as NetConnectOpts); // which can be reset
  return opened(connectTls({ servername: 'localhost', ...options, socket }), 'secureConnect');
}

function opened(socket: Socket, event: string): Promise<Wire> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once(event, () => {
      socket.off('error', reject);
      resolve(new Wire(socket));
    });
  });
}

/** A certificate for localhost that nobody else trusts; `files` is for the program's environment. */
export function makeCertificate(folder: string): { readonly ca: string; readonly files: { readonly KEY: string; readonly CERT: string } } {
  const files = { KEY: join(folder, 'key.pem'), CERT: join(folder, 'cert.pem') };
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  execFileSync('openssl', ['req', '-x509', '-days', '2', ...curve, ...subject, '-keyout', files.KEY, '-out', files.CERT], { stdio: 'pipe' });
  return { ca: readFileSync(files.CERT, 'utf8'), files };
}
