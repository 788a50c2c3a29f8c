/** The runtime of a program that runs without a supervisor: SIGTERM drains it just as a reload would. */
import { defaultTimes } from '../protocol/worker.ts';
import { prepareDrain } from './drain.ts';
import { takeTerm } from './ending.ts';
import { publishRuntime, type Runtime } from './runtime.ts';
import { watchServers } from './servers.ts';

/** Makes SIGTERM graceful; a second one hurries. */
export function runStandalone(): Runtime {
  const servers = watchServers();
  const account = { onWithdrew() {}, onDrained() {}, onNotice: (text: string) => console.error(text) };
  const drain = prepareDrain(servers, account, (times) => ending.end(times));
  const ending = takeTerm((times) => (times === 1 ? drain.begin(defaultTimes) : drain.hurry()));
  return publishRuntime({ generation: 0, ready() {}, onDrain: (hook) => drain.addHook(hook), listener: () => undefined });
}
