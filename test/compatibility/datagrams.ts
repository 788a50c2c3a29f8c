/** Servers from npm that speak by datagrams, reloaded under senders that count: nothing may be lost, and nothing counted or answered twice. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, openSender, type Sender } from '../helpers/datagrams.ts';
import { poll, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';

/** What came of the senders' datagrams. */
export interface Account {
  readonly sent: number;
  readonly lost: number;
  readonly doubled: number;
}

/** The programs, and what their senders do. */
export const datagramPrograms: Readonly<Record<string, (folder: string) => Promise<Account>>> = { dns2: tryDns, statsd: tryStatsd };

const host = '127.0.0.1';
const SENDERS = 20;
const RELOADS = 4;
const EACH = 100;
const PAUSE_MS = 20;

/** Each sender asks for one name after the other, all the time while the program is reloaded. */
async function tryDns(folder: string): Promise<Account> {
  const port = await freePort();
  await using rig = await startMaster({ script: join(folder, 'programs/dns2.cjs'), args: [String(port)], cwd: folder });
  const senders = await Promise.all(Array.from({ length: SENDERS }, () => openSender()));
  let isOver = false;
  const all = Promise.all(senders.map((sender, index) => askNames(sender, port, index, () => isOver)));
  await reload(rig);
  isOver = true;
  const accounts = await all;
  for (const sender of senders) await sender[Symbol.asyncDispose]();
  return { sent: sum(accounts, 'sent'), lost: sum(accounts, 'lost'), doubled: sum(accounts, 'doubled') };
}

async function askNames({ socket }: Sender, port: number, index: number, isOver: () => boolean): Promise<Account> {
  let [sent, lost, doubled] = [0, 0, 0];
  const waiting = new Set<number>();
  socket.on('message', (answer) => {
    if (!waiting.delete(answer.readUInt16BE(0))) doubled++;
  });
  while (!isOver()) {
    waiting.add(++sent);
    socket.send(question(sent, `host-${index}-${sent}.example`), port, host);
    await once(socket, 'message', { signal: AbortSignal.timeout(5_000) }).catch(() => lost++);
  }
  return { sent, lost, doubled };
}

/** @see RFC 1035, 4.1 */
function question(id: number, name: string): Buffer {
  const header = Buffer.from([id >> 8, id & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([header, ...labels, Buffer.from([0, 0, 1, 0, 1])]);
}

/** Senders that hear nothing back; what all workers together have counted is what was sent. */
async function tryStatsd(folder: string): Promise<Account> {
  using configured = temporaryFolder();
  const port = await freePort();
  const config = join(configured.path, 'config.js');
  const backend = join(folder, 'programs/statsd-counts.cjs');
  writeFileSync(config, `{ address: '${host}', port: ${port}, mgmt_address: '${host}', mgmt_port: ${port}, flushInterval: 500, backends: ['${backend}'] }`);
  await using rig = await startMaster({ script: join(folder, 'node_modules/statsd/stats.js'), args: [config], cwd: folder });
  let isOver = false;
  let sent = 0;
  const senders = Array.from({ length: SENDERS }, async () => {
    await using sender = await openSender();
    while (!isOver) {
      for (let i = 0; i < EACH / SENDERS; i++, sent++) sender.send(port, 'sent:1|c');
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  });
  await reload(rig);
  isOver = true;
  await Promise.all(senders);
  const counted = () => [...rig.stdout.matchAll(/^counted (\d+)$/gm)].reduce((total, [, count]) => total + Number(count), 0);
  await poll(
    () => counted() >= sent,
    () => `${sent} sent, ${counted()} counted`,
  ).catch(() => {});
  await rig.stop();
  return { sent, lost: Math.max(0, sent - counted()), doubled: Math.max(0, counted() - sent) };
}

async function reload(rig: Rig): Promise<void> {
  for (let i = 0; i < RELOADS; i++) {
    const { outcome, message } = await rig.hup();
    if (outcome !== 'committed') throw new Error(message);
  }
}

function sum(accounts: readonly Account[], key: keyof Account): number {
  return accounts.reduce((total, account) => total + account[key], 0);
}
