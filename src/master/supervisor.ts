/** The master: brings custody, pool, control, signals and log together around the deciding loop. */
import type { Config } from '../config/config.ts';
import { custodyOf } from '../core/custody.ts';
import type { DrainTimes, Effect } from '../core/effect.ts';
import { toReport } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { keepYoungSpaceSmall } from '../node/heap.ts';
import { type OwnedFile, removeIfOurs } from '../owned-file.ts';
import type { ControlLine } from '../protocol/control.ts';
import type { Command } from './control/command.ts';
import { serveControl } from './control/control.ts';
import type { Keeper } from './control/keeper.ts';
import { takeStatus } from './control/status.ts';
import { Subscribers } from './control/subscribers.ts';
import { exitCodeFor } from './exit-code.ts';
import { Router } from './handoff/router.ts';
import { successorsOf } from './handoff/succession.ts';
import type { Listeners } from './listeners/listeners.ts';
import type { Log } from './log/log.ts';
import { type Loop, startLoop } from './loop.ts';
import { writePidFile } from './pid-file.ts';
import { Reporter } from './reporter.ts';
import { onFault, onSignal } from './signals.ts';
import { type Notifier, openNotifier } from './systemd/notify.ts';
import { type Guard, makeGuard } from './workers/guard.ts';
import { policyOf, vitalSettingsOf } from './workers/policy.ts';
import { WorkerPool } from './workers/pool.ts';
import type { Origin } from './workers/release.ts';
import { Releases } from './workers/releases.ts';
import type { RuntimeFile } from './workers/runtime-file.ts';
import type { Spawned } from './workers/spawn.ts';
import { Vitals } from './workers/vitals.ts';

/** Until then the first worker has the machine to itself. */
const SETTLE_MS = 150;
/** Programs remove their socket files before they listen, and on their way out. */
const mayLosePaths: ReadonlySet<string> = new Set(['reload-committed', 'reload-finished', 'worker-crashed', 'worker-stopped']);

/** What the command line hands over. */
export interface SupervisorOptions {
  readonly config: Config;
  readonly runtimeDir: string;
  readonly version: string;
  readonly kernel: Kernel;
  readonly origin: Origin;
  /** What workers load. */
  readonly runtime: RuntimeFile;
  /** For the first worker. */
  readonly spawned: Spawned;
  /** Reads the configuration anew, for a reload. */
  loadConfig(): Promise<Config>;
}

/** A master; whoever makes it closes what it is given. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #log: Log;
  readonly #keeper: Keeper;
  readonly #listeners: Listeners;
  readonly #loop: Loop;
  readonly #router: Router;
  readonly #pool: WorkerPool;
  readonly #releases: Releases;
  readonly #vitals: Vitals;
  readonly #notifier: Notifier;
  readonly #subscribers = new Subscribers();
  readonly #reporter: Reporter;
  readonly #startedAt: number;
  readonly #guard: Guard;
  #pidFile: OwnedFile | null = null;
  #lastRequest = 0;
  #end: (exitCode: number) => void = () => {};

  constructor(options: SupervisorOptions, log: Log, keeper: Keeper, listeners: Listeners) {
    this.#options = options;
    this.#guard = makeGuard(options.kernel);
    this.#log = log;
    this.#keeper = keeper;
    keeper.onRenewed = () => this.#tellFiles();
    this.#listeners = listeners;
    const { config, origin, kernel: clock, spawned, loadConfig } = options;
    this.#releases = new Releases({ config, launch: spawned.launch, origin, listeners, loadConfig });
    this.#vitals = new Vitals({
      clock,
      ping: (worker) => this.#pool.questions.ping(worker),
      check: (worker, terms) => this.#pool.questions.check(worker, terms),
      dispatch: (happening) => this.#loop.dispatch(happening),
    });
    this.#router = new Router({
      clock,
      send: (worker, message, handle, onLost) => this.#pool.send(worker, message, handle, onLost),
      successorsOf: (worker) => {
        const { fleet } = this.#loop;
        return this.#releases.configOf(fleet.generation)?.handoff === true ? successorsOf(fleet, worker) : null;
      },
    });
    this.#loop = startLoop({
      policy: policyOf(config, false), // until its release is resolved
      clock,
      perform: (effect) => this.#perform(effect),
      afterTurn: () => this.#afterTurn(),
    });
    this.#startedAt = clock.now();
    this.#pool = this.#makePool();
    this.#reporter = new Reporter({
      config,
      log,
      subscribers: this.#subscribers,
      pool: this.#pool,
      releases: this.#releases,
      listeners,
      onServing: () => this.#writePidFile(),
    });
    this.#notifier = openNotifier(origin.env, {
      pidOf: (worker) => this.#pool.pidOf(worker),
      turn: () => this.#loop.dispatch({ type: 'tick' }),
      complain: (text) => this.#log.write('notify-failed', { level: 'warn', text }),
    });
  }

  #makePool(): WorkerPool {
    const { runtimeDir, runtime, spawned, kernel } = this.#options;
    return new WorkerPool({
      kernel,
      listeners: this.#listeners,
      router: this.#router,
      folder: runtimeDir,
      runtime,
      spawned,
      guard: this.#guard,
      dispatch: (happening) => this.#loop.dispatch(happening),
      isStarting: (worker) => this.#workersIn('starting').includes(worker),
      files: () => this.#files(),
      onVitals: (worker, rssBytes) => this.#vitals.onAnswer(worker, rssBytes),
      note: (worker, text, level = 'warn') => this.#log.write('worker-note', { level, text: `worker ${worker} ${text}` }, { worker }),
    });
  }

  async run(): Promise<number> {
    const ended = new Promise<number>((resolve) => {
      this.#end = resolve;
    });
    serveControl(this.#keeper.claim.server, {
      version: this.#options.version,
      status: () => this.#status(),
      ask: (command, tell) => this.#askFor(command, tell),
      stop: (tell) => this.#stopFor(tell),
    });
    await this.#listeners.hold(this.#options.config.listen, 1); // what can't be had ends the start with its own error
    this.#ask({ type: 'reload-requested' }, 'start');
    this.#options.kernel.after(SETTLE_MS, () => this.#settle());
    onSignal((signal) => this.#onSignal(signal));
    onFault((error) => {
      const { message, stack = '' } = toReport(error);
      this.#log.write('internal-error', { level: 'error', text: `internal error, going on: ${message}`, details: stack });
    });
    const exitCode = await ended;
    if (this.#pidFile !== null) removeIfOurs(this.#pidFile);
    this.#guard.keep([]);
    this.#guard.end();
    await this.#notifier.close();
    return exitCode;
  }

  /** Others are to be removed now, should this process be killed. */
  #tellFiles(): void {
    this.#options.runtime.mend(); // in a folder that was made again
    this.#pool.sendAll({ type: 'files', files: this.#files() });
  }

  /** What a master needs for a long life, but not to begin it. */
  #settle(): void {
    keepYoungSpaceSmall();
    this.#log.begin();
    this.#keeper.onLook = this.#options.runtime.mend;
    this.#keeper.begin();
  }

  #onSignal(signal: string): void {
    this.#keeper.look();
    switch (signal) {
      case 'SIGHUP':
        return this.#ask({ type: 'reload-requested' }, signal);
      case 'SIGTTIN':
      case 'SIGTTOU':
        return this.#ask({ type: 'scale-requested', change: { by: signal === 'SIGTTIN' ? 1 : -1 } }, signal);
      case 'SIGTERM':
      case 'SIGINT':
        return this.#loop.dispatch({ type: 'stop-requested', by: signal });
      case 'SIGUSR1':
        this.#log.reopen();
        return this.#log.write('log-reopened', { level: 'info', text: 'log file reopened' });
      default:
        return this.#log.write('signal-ignored', { level: 'warn', text: `${signal} has no meaning here and is ignored` });
    }
  }

  #ask(command: Command, by: string, isAwaited = false): void {
    this.#loop.dispatch({ ...command, request: ++this.#lastRequest, by, isAwaited });
  }

  #afterTurn(): void {
    const { fleet } = this.#loop;
    this.#settleListeners();
    this.#router.refresh(this.#workersIn('draining'));
    this.#notifier.look(fleet);
    this.#vitals.watch(vitalSettingsOf(fleet, (generation) => this.#releases.configOf(generation)));
  }

  /** One case an effect. */
  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'resolve':
        return this.#resolve(effect.generation, effect.from);
      case 'spawn':
        this.#keeper.look();
        return this.#pool.start(effect, this.#releases.order(effect.generation));
      case 'ask':
        return this.#pool.send(effect.worker, { type: 'is-quiet' });
      case 'admit':
        return this.#pool.send(effect.worker, { type: 'admit' });
      case 'drain':
        return this.#drain(effect.worker, effect.times);
      case 'signal':
        return this.#pool.signal(effect.worker, effect.signal);
      case 'forget-others':
        return this.#releases.keep([...effect.generations, this.#loop.fleet.previous]);
      case 'close-listeners':
        return this.#listeners.close();
      case 'report':
        if (mayLosePaths.has(effect.report.type)) this.#listeners.lookAtPaths();
        return this.#reporter.tell(effect.report);
      case 'exit':
        return void this.#pool.swept().then(() => this.#finish(exitCodeFor(effect)));
    }
  }

  #finish(exitCode: number): void {
    this.#subscribers.tellStopped(exitCode);
    this.#end(exitCode);
  }

  /** A bad configuration or a missing file ends a reload here, before anything was touched. */
  #resolve(generation: number, from: number | null): void {
    this.#releases.resolve(generation, from, this.#loop.fleet.generation).then(
      ({ policy, dropped }) => {
        const { handoff, handoffTls } = this.#releases.configOf(generation) ?? this.#options.config;
        if (handoffTls && !handoff)
          this.#log.write('option-without-effect', { level: 'warn', text: '--handoff-tls does nothing beside --no-handoff: no connection is handed over' });
        this.#loop.dispatch({ type: 'release-resolved', generation, policy, dropped });
      },
      (error) => this.#loop.dispatch({ type: 'release-rejected', generation, error: toReport(error) }),
    );
  }

  #drain(worker: number, times: DrainTimes): void {
    const reason = this.#loop.fleet.phase === 'running' ? 'reload' : 'stop';
    this.#pool.send(worker, { type: 'drain', times, reason, successors: this.#router.successors(worker) });
  }

  #workersIn(phase: string): number[] {
    return this.#loop.fleet.workers.filter((worker) => worker.phase === phase).map(({ id }) => id);
  }

  /** When the fleet stops, it says itself when nobody is to connect any more. */
  #settleListeners(): void {
    const { fleet } = this.#loop;
    const closed = fleet.phase === 'running' ? this.#listeners.settle(custodyOf(fleet)) : [];
    if (closed.length > 0) this.#log.write('listeners-closed', { level: 'info', text: `no longer used, closed: ${closed.join(', ')}` }, { listeners: closed });
  }

  #writePidFile(): void {
    const { pidFile } = this.#options.config;
    if (pidFile === undefined) return;
    try {
      this.#pidFile = writePidFile(pidFile);
      this.#tellFiles();
    } catch (error) {
      this.#log.write('pid-file-failed', { level: 'error', text: toReport(error).message });
    }
  }

  #askFor(command: Command, tell: (line: ControlLine) => void): () => void {
    const request = this.#lastRequest + 1;
    const silence = this.#subscribers.awaitAnswer(request, tell); // it may be over within the call
    this.#ask(command, 'control', true);
    return () => {
      silence();
      this.#loop.dispatch({ type: 'caller-left', request });
    };
  }

  #stopFor(tell: (line: ControlLine) => void): () => void {
    const silence = this.#subscribers.awaitStop(tell);
    // asked again, as by a deploy script that retries, it joins the stop that is under way
    if (this.#loop.fleet.phase === 'running') this.#loop.dispatch({ type: 'stop-requested', by: 'control' });
    return silence;
  }

  #status() {
    const { name, script } = this.#options.config;
    return takeStatus(this.#loop.fleet, {
      name,
      script,
      version: this.#options.version,
      startedAt: this.#startedAt,
      now: this.#options.kernel.now(),
      listeners: this.#listeners.describe(this.#loop.fleet.generation),
      pidOf: (worker) => this.#pool.pidOf(worker),
      movedOf: (worker) => this.#router.movedOf(worker),
      examine: (worker) => this.#pool.questions.examine(worker),
    });
  }

  /** What is to be removed in the end; whoever does it if this master can't hears of it. */
  #files(): OwnedFile[] {
    const files = [...this.#listeners.files, ...(this.#pidFile === null ? [] : [this.#pidFile]), ...this.#keeper.claim.files, ...this.#options.runtime.files];
    this.#guard.keep(files);
    return files;
  }
}
