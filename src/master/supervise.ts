/** A master from its first moment to its last: what it holds is given back, however it ends. */
import { GracefulError } from '../errors.ts';
import { canBind } from '../node/handle.ts';
import { claimName } from './control/claim.ts';
import { Keeper } from './control/keeper.ts';
import { openCustody } from './listeners/custody.ts';
import { openLog } from './log/log.ts';
import { refuseHeld } from './pid-file.ts';
import { Supervisor, type SupervisorOptions } from './supervisor.ts';

/** Runs until it is stopped. @returns the exit code @throws GracefulError when it can't begin; then nothing is left behind */
export async function supervise(options: SupervisorOptions): Promise<number> {
  if (!canBind())
    throw new GracefulError('node-unusable', `Node ${process.version} lacks what graceful-super needs to hold a socket`, {
      hint: 'use a Node version of the README',
    });
  const log = openLog(options.config);
  const keeper = new Keeper(await claimName(options.runtimeDir, options.config.name), log);
  const listeners = openCustody(options.origin.env, log, options.kernel);
  try {
    if (options.config.pidFile !== undefined) refuseHeld(options.config.pidFile);
    process.chdir('/'); // an old release that is pruned must not take the master's working directory away
    return await new Supervisor(options, log, keeper, listeners).run();
  } finally {
    listeners.close();
    await keeper.release();
    await log.close();
  }
}
