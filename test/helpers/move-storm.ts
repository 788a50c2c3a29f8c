/** The storm that asks for the promise of the handoff: clients that never leave their connections, over any number of reloads. */
import assert from 'node:assert/strict';
import type { Rig } from './rig.ts';
import { type StormResult, startStorm } from './storm.ts';

export interface MoveStorm {
  readonly clients: number;
  readonly reloads: number;
  readonly thinkMs?: number;
  /** Called after each reload. */
  onReload?(reload: number, result: StormResult): void;
}

/** Reloads a master of `http-echo.cjs` under the storm; between two reloads each client gets some answers. */
export async function reloadUnderStorm(rig: Rig, { clients, reloads, thinkMs = 150, onReload }: MoveStorm): Promise<StormResult> {
  const storm = startStorm({ port: rig.port(), ca: rig.ca, keepAlive: clients, fresh: 0, thinkMs, slowReads: true });
  for (let reload = 1; reload <= reloads; reload++) {
    await storm.answered(2 * clients);
    const { outcome } = await rig.hup();
    assert.equal(outcome, 'committed');
    onReload?.(reload, storm.result);
    if (storm.result.failures.length > 0) break;
  }
  await storm.answered(2 * clients);
  return storm.stop();
}
