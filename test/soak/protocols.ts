/**
 * 100 clients of each protocol over 8 reloads: nothing fails, and nobody opens a second connection. `npx tsx test/soak/protocols.ts 20` reloads that often.
 */
import { clients } from '../helpers/interop/clients.ts';
import { goesOn } from '../helpers/interop/goes-on.ts';
import { temporaryFolder } from '../helpers/rig.ts';

const count = 100;
const pauseMs = 500;
const reloads = Number(process.argv[2] ?? 8);
using folder = temporaryFolder();

for (const client of clients.filter(({ needs }) => needs === undefined)) {
  for (const protocol of client.speaks) {
    const outcome = await goesOn({ client, protocol, count, reloads, pauseMs, folder: folder.path }).then(
      () => 'all went on',
      (error: Error) => {
        process.exitCode = 1;
        return error.message;
      },
    );
    console.log(`${count} of ${client.name} over ${protocol}, ${reloads} reloads: ${outcome}`);
  }
}
