/** The runtime of a program that runs without a supervisor: SIGTERM drains it just as a reload would. */
import { defaultTimes } from '../protocol/worker.ts';
import { makeDatagrams } from './datagrams.ts';
import { prepareDrain } from './drain.ts';
import { takeTerm } from './ending.ts';
import { prepareMover } from './handoff/mover.ts';
import { makeRegistry } from './handoff/registry.ts';
import { plainOnly } from './handoff/transports.ts';
import { publishRuntime, type Runtime } from './runtime.ts';
import { watchServers } from './servers.ts';

/** Makes SIGTERM graceful; a second one hurries. */
export function runStandalone(): Runtime {
  const servers = watchServers();
  const registry = makeRegistry();
  const scope = { servers, registry, transports: plainOnly };
  const mover = prepareMover({ ...scope, tell() {} });
  const account = { onWithdrew() {}, onDrained() {}, onNotice: (text: string) => console.error(text) };
  const drain = prepareDrain({ ...scope, mover, datagrams: makeDatagrams() }, account, (times, isTold) =>
    ending.end({ times, departed: mover.departed, isTold }),
  );
  const ending = takeTerm((times) => (times === 1 ? drain.begin(defaultTimes, 'stop') : drain.hurry()));
  return publishRuntime({
    ...registry,
    generation: 0,
    index: 0,
    ready() {},
    preflight() {},
    onDrain: (hook) => drain.addHook(hook),
    listener: () => undefined,
  });
}
