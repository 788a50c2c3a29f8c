/**
 * Looks after a claim for as long as its master lives: what was removed of it (tools clean /tmp, a logout takes the user's folder in /run, somebody removes
 * too much) is made again, by the same rules as the first time. It is noticed by the kernel's word, and looked at when there is another reason to.
 */
import { type FSWatcher, watch } from 'node:fs';
import { dirname } from 'node:path';
import { toReport } from '../../errors.ts';
import type { Log } from '../log/log.ts';
import { type Claim, isWhole, releaseClaim, renewClaim } from './claim.ts';

/** Whoever removes files may not be done yet. */
const PAUSE_MS = 200;
/** Until the next try, and between looks where the kernel gives no word (no inotify instance is left). */
const AGAIN_MS = 5_000;

/** The claim as it is now. */
export class Keeper {
  readonly #log: Log;
  #claim: Claim;
  #watchers: FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  #renewal: Promise<void> | undefined;
  #complaint = '';
  #hasEnded = false;
  /** The files are others now. */
  onRenewed: () => void = () => {};
  /** Something has happened in the folder, where there is more than the claim. */
  onLook: () => void = () => {};

  constructor(claim: Claim, log: Log) {
    this.#claim = claim;
    this.#log = log;
  }

  get claim(): Claim {
    return this.#claim;
  }

  /** Watches from now on. */
  begin(): void {
    for (const watcher of this.#watchers.splice(0)) watcher.close();
    const { folder, files } = this.#claim;
    const entry = files[1]?.path ?? folder;
    try {
      for (const path of new Set([folder, dirname(entry)])) {
        const watcher = watch(path, { persistent: false }, () => this.#lookIn(PAUSE_MS));
        watcher.on('error', () => this.#lookIn(AGAIN_MS));
        this.#watchers.push(watcher);
      }
      this.#lookIn(PAUSE_MS); // what was removed before anybody watched
    } catch {
      this.#lookIn(AGAIN_MS); // EMFILE, ENOSPC; or it has gone again
    }
  }

  /** Makes again what is missing. */
  look(): void {
    if (!this.#hasEnded) this.onLook();
    if (this.#hasEnded || this.#renewal !== undefined || this.#isWhole()) return;
    this.#renewal = this.#renew().finally(() => {
      this.#renewal = undefined;
    });
  }

  /** Gives the name back. */
  async release(): Promise<void> {
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers) watcher.close();
    await this.#renewal;
    releaseClaim(this.#claim);
  }

  async #renew(): Promise<void> {
    const { socketPath } = this.#claim;
    try {
      this.#claim = await renewClaim(this.#claim);
      this.#complaint = '';
      this.#log.write('control-socket-renewed', { level: 'warn', text: `the control socket was removed, and is made again: ${socketPath}` });
      if (!this.#hasEnded) this.begin();
    } catch (error) {
      this.#claim = { ...this.#claim, files: [] };
      const text = `the control socket ${socketPath} was removed and can't be made again, only signals reach this master: ${toReport(error).message}`;
      this.#lookIn(AGAIN_MS);
      if (text === this.#complaint) return;
      this.#complaint = text;
      this.#log.write('control-socket-lost', { level: 'error', text });
    }
    this.onRenewed();
  }

  #isWhole(): boolean {
    try {
      return isWhole(this.#claim);
    } catch {
      return false; // EACCES: its folder can't be entered any more
    }
  }

  #lookIn(delayMs: number): void {
    if (this.#hasEnded) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.look();
      if (this.#watchers.length === 0) this.#lookIn(AGAIN_MS);
    }, delayMs).unref();
  }
}
