/**
 * The cluster that a program forks by itself: its primary is our worker, and nobody else's process is touched.
 *
 * Nothing of this is undocumented, but it stands on what was tried on 20.20, 22.23, 24.21, 26.10: the primary listens by a `net.Server` of its own, whose
 * handle it takes (`stopAccepting` knows it from when it was given), and hands each connection to a worker, one at a time, over the channel by which
 * that worker is then told to disconnect. (With `SCHED_NONE`, and for UDP, the primary binds for its workers past everything.)
 */
import type { Cluster } from 'node:cluster';

/** In which connections that were accepted reach their worker: a channel's round trip, many times over. */
const UNDERWAY_MS = 100;

/** Lets the workers of the program's cluster finish and end. Resolves when those that are there now have ended. */
export async function endCluster(): Promise<void> {
  const { isPrimary, workers = {} } = process.getBuiltinModule('node:cluster') as unknown as Cluster;
  const all = isPrimary ? Object.values(workers).flatMap((worker) => worker ?? []) : [];
  if (all.length === 0) return;
  const ended = all.map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
  await new Promise((resolve) => setTimeout(resolve, UNDERWAY_MS));
  for (const worker of all) if (worker.isConnected()) worker.disconnect();
  await Promise.all(ended);
}
