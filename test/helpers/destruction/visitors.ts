/** Clients that vanish, crawl and flood, at the program's doors and at the control socket. What becomes of them is their own affair. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Dice } from './dice.ts';
import type { Fault } from './fault.ts';
import { pause, type World } from './world.ts';

const GET = 'GET /visitor HTTP/1.1\r\nHost: x\r\n\r\n';

export const visits: readonly Fault[] = [
  { name: 'clients that vanish', run: vanish },
  { name: 'clients that crawl', run: crawl },
  { name: 'clients that flood', run: flood },
  { name: 'garbage on the control socket', run: garbage },
  { name: 'callers who hang up', run: hangUp },
];

async function vanish(world: World, dice: Dice): Promise<void> {
  await visit(dice.number(20, 100), async () => {
    const socket = enter(world, dice);
    socket.write((GET + GET).slice(0, dice.number(0, 2 * GET.length)));
    await pause(dice.number(0, 500));
    leave(socket, dice);
  });
}

async function crawl(world: World, dice: Dice): Promise<void> {
  await visit(dice.number(5, 20), async () => {
    const socket = enter(world, dice);
    for (const letter of GET.slice(0, dice.number(1, GET.length))) {
      socket.write(letter);
      await pause(dice.number(0, 60));
    }
    leave(socket, dice);
  });
}

/** Reads nothing. */
async function flood(world: World, dice: Dice): Promise<void> {
  await visit(dice.number(50, 300), async () => {
    const socket = enter(world, dice).pause();
    socket.write(GET.repeat(dice.number(1, 200)));
    await pause(dice.number(0, 1_000));
    leave(socket, dice);
  });
}

async function garbage(world: World, dice: Dice): Promise<void> {
  await visit(dice.number(10, 60), async () => {
    await pause(dice.number(0, 300));
    const socket = call(world);
    socket.write(
      dice.pick([
        randomBytes(dice.number(1, 4_000)),
        'GET /status HTTP/1.1\r\n',
        `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
        'POST /stop HTTP/9.9\r\n\r\n',
        'POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
        'POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
        'GET /status HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(50),
        'DELETE /stop HTTP/1.1\r\nHost: x\r\n\r\n',
        '',
      ]),
    );
    await pause(dice.number(0, 500));
    leave(socket, dice);
  });
}

/** Some read nothing of what they asked for. */
async function hangUp(world: World, dice: Dice): Promise<void> {
  await visit(dice.number(1, 20), async () => {
    await pause(dice.number(0, 300));
    const socket = call(world);
    if (dice.may(0.5)) socket.pause();
    socket.write(`${dice.pick(['POST /reload', 'GET /status'])} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await pause(dice.number(0, 800));
    leave(socket, dice);
  });
}

async function visit(count: number, once: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: count }, once));
}

function enter({ rig }: World, dice: Dice): Socket {
  return harden(connect({ port: rig.port(dice.number(0, 1)), host: '127.0.0.1' }));
}

function call({ rig }: World): Socket {
  return harden(connect(join(rig.runtimeDir, `${rig.name}.sock`)));
}

function harden(socket: Socket): Socket {
  return socket.on('error', () => {}).resume(); // it may be cut off at any time
}

function leave(socket: Socket, dice: Dice): void {
  if (dice.may(0.3) && socket.remotePort !== undefined) socket.resetAndDestroy();
  else if (dice.may(0.5)) socket.destroy();
  else socket.end().destroySoon();
}
