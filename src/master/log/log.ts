/**
 * The master's log, by winston: one line an event; for people on a terminal and in the journal, JSON elsewhere. Lines wait until it is
 * begun, which loads winston.
 */
import type { Writable } from 'node:stream';
import type Winston from 'winston';
import type { Logger, transport } from 'winston';
import type { Config } from '../../config/config.ts';
import { toReport } from '../../errors.ts';
import { printable } from '../../printable.ts';
import { isJournal, withPriority } from './journal.ts';
import { openLogFile, openStream, type TellGap } from './log-sinks.ts';
import { errorOutput } from './terminal.ts';
import type { Line } from './wording.ts';

/** Facts that machines want besides the text. */
export type Fields = Readonly<Record<string, unknown>>;

/** Where the master says what happens. */
export interface Log {
  /** Writes what was said, and from now on what is said. */
  begin(): void;
  write(event: string, line: Line, fields?: Fields): void;
  /** Opens the log file anew, as after logrotate moved it. */
  reopen(): void;
  /** Everything is written when this settles. */
  close(): Promise<void>;
}

interface Entry {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

type Format = (entry: Entry) => string;

type LogSettings = Pick<Config, 'logLevel' | 'logFormat' | 'logFile'>;

/** @throws GracefulError `log-file-unwritable` */
export function openLog(settings: LogSettings): Log {
  return new WinstonLog(settings);
}

class WinstonLog implements Log {
  readonly #settings: LogSettings;
  readonly #waiting: Entry[] = [];
  readonly #tellGap: TellGap = (lost, why) =>
    this.#print({ time: new Date().toISOString(), level: 'warn', event: 'log-lines-lost', message: `${why}: ${lost} lines are missing` });
  /** undefined: stderr, which is not opened yet, since that takes a while. */
  #sink: Writable | undefined;
  #format: Format | undefined;
  #begun: Promise<void> | undefined;
  #logger: Logger | undefined;
  #transport: transport | undefined;
  #winston: typeof Winston | undefined;

  constructor(settings: LogSettings) {
    this.#settings = settings;
    if (settings.logFile !== undefined) this.#sink = openLogFile(settings.logFile, this.#tellGap);
  }

  begin(): void {
    void this.#begin();
  }

  write(event: string, { level, text, details }: Line, fields: Fields = {}): void {
    const entry: Entry = { time: new Date().toISOString(), level, event, message: text, ...fields, ...(details === undefined ? {} : { stack: details }) };
    if (this.#logger === undefined) this.#waiting.push(entry);
    else this.#logger.log(entry);
  }

  reopen(): void {
    const { logFile } = this.#settings;
    if (logFile === undefined) return;
    const [oldSink, oldTransport] = [this.#sink, this.#transport];
    try {
      this.#sink = openLogFile(logFile, this.#tellGap);
    } catch (error) {
      return this.write('log-file-kept', { level: 'warn', text: toReport(error).message });
    }
    // at once: what is logged from now on belongs in the new file
    if (this.#winston === undefined || oldTransport === undefined) return void oldSink?.end();
    this.#transport = this.#attach(this.#winston);
    this.#logger?.add(this.#transport).remove(oldTransport);
    oldTransport.once('finish', () => oldSink?.end()).end();
  }

  async close(): Promise<void> {
    await this.#begin();
    const ended = new Promise((resolve) => this.#logger?.once('finish', resolve));
    this.#logger?.end();
    await ended;
    await new Promise((resolve) => this.#sink?.end(resolve));
  }

  #begin(): Promise<void> {
    this.#begun ??= this.#load();
    return this.#begun;
  }

  async #load(): Promise<void> {
    const { default: winston } = await import('winston');
    this.#winston = winston;
    this.#transport = this.#attach(winston);
    const format = winston.format.printf((entry) => this.#print(entry as Entry));
    this.#logger = winston.createLogger({ level: this.#settings.logLevel, format, transports: [this.#transport] });
    for (const entry of this.#waiting.splice(0)) this.#logger.log(entry);
  }

  #attach({ transports }: typeof Winston): transport {
    this.#sink ??= openStream(errorOutput(), this.#tellGap);
    return new transports.Stream({ stream: this.#sink });
  }

  #print(entry: Entry): string {
    this.#format ??= chooseFormat(this.#settings.logFormat, this.#settings.logFile === undefined);
    return this.#format(entry);
  }
}

function chooseFormat(logFormat: Config['logFormat'], isStderr: boolean): Format {
  const isForJournal = isStderr && isJournal(process.env, 2);
  const isText = logFormat === 'text' || (logFormat === 'auto' && isStderr && (process.stderr.isTTY || isForJournal));
  if (!isForJournal) return isText ? toText : toJson;
  return (entry) => withPriority(entry.level, isText ? toPlain(entry) : toJson({ ...entry, time: undefined }));
}

function toJson(entry: Entry): string {
  const { time, level, event, message, ...fields } = entry;
  return JSON.stringify({ time, level, event, message, ...fields });
}

function toText(entry: Entry): string {
  return `${String(entry['time']).slice(11, 23)} ${entry.level.padEnd(5)} ${toPlain(entry)}`;
}

/** What happened, and nothing else: the journal knows when, and how bad it is. */
function toPlain({ message, stack }: Entry): string {
  const text = typeof stack === 'string' ? `${message}\n${stack}` : message;
  return printable(text).replace(/\n/g, '\n    '); // no line of it can be taken for one of ours
}
