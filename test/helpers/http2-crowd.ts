/** Clients of HTTP/2 that each open one session and keep it, whatever happens: Node's own. */
import assert from 'node:assert/strict';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders, type SecureClientSessionOptions } from 'node:http2';

/** What is asked for, in bytes. */
export interface Exchange {
  readonly body?: number;
  readonly size?: number;
}

/** One session to `http2-echo.cjs`. */
export class Http2Client implements Disposable {
  readonly session: ClientHttp2Session;
  /** What has ended it, and what it was told. */
  readonly faults: string[] = [];
  answers = 0;

  constructor(url: string, options: SecureClientSessionOptions = {}) {
    this.session = connect(url, options);
    this.session.on('error', (error) => this.faults.push(String(error)));
    this.session.on('goaway', (code) => this.faults.push(`GOAWAY ${code}`));
    this.session.on('close', () => this.faults.push('closed'));
  }

  /** @returns who answered, having checked that all came and went */
  ask({ body = 0, size = 10 }: Exchange = {}): Promise<number> {
    return new Promise((resolve, reject) => {
      const stream = this.session.request({ ':method': 'POST', 'x-size': String(size), 'x-always': 'something to be compressed' });
      let headers: IncomingHttpHeaders = {};
      let trailers: IncomingHttpHeaders = {};
      let received = 0;
      stream.on('response', (heads) => {
        headers = heads;
      });
      stream.on('trailers', (heads) => {
        trailers = heads;
      });
      stream.on('data', (bytes: Buffer) => {
        received += bytes.length;
      });
      stream.on('error', reject);
      stream.on('close', () => {
        try {
          assert.deepEqual([received, trailers['x-received']], [size, String(body)]);
          this.answers++;
          resolve(Number(headers['x-pid']));
        } catch (error) {
          reject(error);
        }
      });
      stream.end(Buffer.alloc(body, 'b'));
    });
  }

  /** Asks for ever, so much at once; each next thing when the last one is there. @returns ends that, and waits for what is asked */
  goOn(atOnce: number, exchanges: readonly Exchange[], pauseMs = 0): () => Promise<void> {
    let hasEnded = false;
    const loop = async (offset: number) => {
      for (let index = offset; !hasEnded; index++) {
        await this.ask(exchanges[index % exchanges.length]).catch((error) => {
          this.faults.push(String(error));
          hasEnded = true;
        });
        if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    };
    const loops = Array.from({ length: atOnce }, (_, index) => loop(index));
    return async () => {
      hasEnded = true;
      await Promise.all(loops);
    };
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}
