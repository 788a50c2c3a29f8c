/** A WebSocket client, by the ws library, that sees every message, and how the connection ended. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type ClientOptions, WebSocket } from 'ws';
import { poll } from './rig.ts';

/** One connection. */
export class WebSocketWire implements Disposable {
  readonly socket: WebSocket;
  /** Text messages. */
  readonly texts: string[] = [];
  /** Binary messages. */
  readonly blobs: Buffer[] = [];
  /** Code of the close, or message of the error; undefined while it is open. */
  ended: number | string | undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data, isBinary) => {
      if (isBinary) this.blobs.push(data as Buffer);
      else this.texts.push(String(data));
    });
    socket.on('error', ({ message }) => {
      this.ended ??= message;
    });
    socket.on('close', (code) => {
      this.ended ??= code;
    });
  }

  /** The connection below. */
  get below(): Socket {
    return (this.socket as unknown as { readonly _socket: Socket })._socket;
  }

  /** Sends a text. @returns the text that comes next */
  async ask(text: string): Promise<string> {
    const at = this.texts.length;
    this.socket.send(text);
    await this.until(() => this.texts.length > at);
    return this.texts[at] ?? '';
  }

  async until(isSo: () => boolean): Promise<void> {
    await poll(
      () => isSo() || this.ended !== undefined,
      () => `got ${JSON.stringify(this.texts.slice(-5))}`,
    );
    if (!isSo()) throw new Error(`ended with ${this.ended}, got ${JSON.stringify(this.texts.slice(-5))}`);
  }

  /** How the connection ended. */
  async end(): Promise<number | string> {
    await poll(
      () => this.ended !== undefined,
      () => `it is still open, got ${JSON.stringify(this.texts.slice(-5))}`,
    );
    return this.ended as number | string;
  }

  [Symbol.dispose](): void {
    this.socket.terminate();
  }
}

/** Opens a connection. */
export async function dialWebSocket(url: string, options: ClientOptions = {}, protocols: string[] = []): Promise<WebSocketWire> {
  const socket = new WebSocket(url.replace('http:', 'ws:'), protocols, { perMessageDeflate: false, ...options });
  const wire = new WebSocketWire(socket);
  await once(socket, 'open');
  return wire;
}
