/** A running worker is asked whether it is healthy; here without a master, in the words of the protocol. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { test } from 'node:test';
import { onHidden, sendHidden } from '../../src/node/channel.ts';
import type { FromWorker, HealthTerms, ToWorker, WorkerIdentity } from '../../src/protocol/worker.ts';
import { defaultTimes, WORKER_PROTOCOL, WORKER_VARIABLE } from '../../src/protocol/worker.ts';
import { descriptors, fixture, poll, root } from '../helpers/rig.ts';

const terms: HealthTerms = { requests: [{ port: null, path: '/ok' }], statuses: [[200, 299]], timeoutMs: 500 };

class Worker implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly #heard: FromWorker[] = [];
  readonly #lookers = new Set<() => void>();
  #lastId = 0;

  constructor() {
    const identity: WorkerIdentity = {
      protocol: WORKER_PROTOCOL,
      master: process.pid,
      worker: 1,
      generation: 1,
      index: 0,
      waitReady: false,
      preflight: { ...terms, requests: [] },
      tickets: 4,
      watcher: null,
      times: defaultTimes,
      handoffTls: false,
      listeners: {},
    };
    this.child = fork(fixture('listens-privately.cjs'), {
      execArgv: ['--require', join(root, 'dist/worker/preload.cjs')],
      env: { ...process.env, [WORKER_VARIABLE]: '5' },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'ignore', 'pipe'],
    });
    ((this.child.stdio as readonly unknown[])[5] as Writable).end(`${JSON.stringify(identity)}\n`);
    onHidden(this.child, (message) => {
      this.#heard.push(message as FromWorker);
      for (const look of [...this.#lookers]) look();
    });
  }

  until<T extends FromWorker>(matches: (message: FromWorker) => message is T): Promise<T> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.#heard.find(matches);
        if (found === undefined) return;
        this.#lookers.delete(look);
        resolve(found);
      };
      this.#lookers.add(look);
      look();
    });
  }

  async check(path: string): Promise<unknown> {
    const id = ++this.#lastId;
    const question: ToWorker = { type: 'check', id, ...terms, requests: [{ port: null, path }] };
    sendHidden(this.child, question);
    type Checked = Extract<FromWorker, { type: 'checked' }>;
    return (await this.until((message): message is Checked => message.type === 'checked' && message.id === id)).failure;
  }

  async connections(): Promise<number> {
    const id = ++this.#lastId;
    sendHidden(this.child, { type: 'examine', id } satisfies ToWorker);
    type Counted = Extract<FromWorker, { type: 'vitals' }>;
    return (await this.until((message): message is Counted => message.type === 'vitals' && message.id === id)).connections;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }
}

test('A worker says how its pages answer, and keeps nothing of it', async () => {
  await using worker = new Worker();
  await worker.until((message): message is Extract<FromWorker, { type: 'ready' }> => message.type === 'ready');
  assert.equal(await worker.check('/ok'), null);
  const before = descriptors(worker.child.pid as number).length;
  for (let turn = 0; turn < 50; turn++) assert.equal(await worker.check('/ok'), null);
  assert.deepEqual(await worker.check('/ill'), { request: '/ill', status: 500, body: 'graceful-super/health' });
  const stuck = worker.check('/stuck');
  assert.equal(await worker.connections(), 0);
  assert.deepEqual(await stuck, { request: '/stuck', error: 'no answer within 0.5 s' });
  await poll(
    () => descriptors(worker.child.pid as number).length <= before,
    () => descriptors(worker.child.pid as number).join(' '),
  );
});
