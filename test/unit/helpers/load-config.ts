/** Loads a configuration as the command line does, from a few sources. */
import { type Config, type ConfigSources, loadConfig } from '../../../src/config/config.ts';
import { GracefulError } from '../../../src/errors.ts';

/** Starts `app.js` in /base, unless told otherwise. */
export function load(sources: Partial<ConfigSources> = {}): Promise<Config> {
  return loadConfig({ flags: {}, script: 'app.js', args: undefined, configFile: undefined, env: {}, folder: '/base', ...sources });
}

/** The error that it ends with. */
export async function failToLoad(sources: Partial<ConfigSources>): Promise<GracefulError> {
  const result = await load(sources).catch((error: unknown) => error);
  if (result instanceof GracefulError) return result;
  throw new Error(`expected a GracefulError, got ${String(result)}`, { cause: result });
}
