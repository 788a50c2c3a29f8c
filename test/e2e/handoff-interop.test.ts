/** Whatever client talks to whatever program: its one connection goes on through reloads, and it can't tell. */
import { after, test } from 'node:test';
import { clients, missing } from '../helpers/interop/clients.ts';
import { goesOn } from '../helpers/interop/goes-on.ts';
import { temporaryFolder } from '../helpers/rig.ts';

const shared = temporaryFolder();
after(() => shared[Symbol.dispose]());

for (const client of clients) {
  for (const protocol of client.speaks) {
    const skip = missing(client) ?? false;
    test(`${client.name} goes on over its connection of ${protocol}`, { skip }, () => goesOn({ client, protocol, reloads: 3, folder: shared.path }));
  }
}
