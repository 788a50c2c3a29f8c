/**
 * The master's log, by winston: one line an event; for people on a terminal and in the journal, JSON elsewhere. winston is loaded while the
 * first worker starts; until then lines wait.
 */
import { appendFile, close, openSync } from 'node:fs';
import { Writable } from 'node:stream';
import type { Logger, transport } from 'winston';
import type { Config } from '../config/config.ts';
import { GracefulError, toReport } from '../errors.ts';
import { isJournal, withPriority } from './journal.ts';
import type { Line } from './wording.ts';

/** Facts that machines want besides the text. */
export type Fields = Readonly<Record<string, unknown>>;

/** Where the master says what happens. */
export interface Log {
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

/** @throws GracefulError `log-file-unwritable` */
export function openLog({ logLevel, logFormat, logFile }: Pick<Config, 'logLevel' | 'logFormat' | 'logFile'>): Log {
  const format = chooseFormat(logFormat, logFile === undefined);
  let sink = openSink(logFile, format);
  let transport: transport | undefined;
  let logger: Logger | undefined;
  const waiting: Entry[] = [];
  let attach: () => transport;
  const loaded = import('winston').then(({ default: winston }) => {
    attach = () => new winston.transports.Stream({ stream: sink });
    transport = attach();
    logger = winston.createLogger({ level: logLevel, format: winston.format.printf((entry) => format(entry as Entry)), transports: [transport] });
    for (const entry of waiting.splice(0)) logger.log(entry);
  });
  return {
    write(event, { level, text, details }, fields = {}) {
      const entry: Entry = { time: new Date().toISOString(), level, event, message: text, ...fields, ...(details === undefined ? {} : { stack: details }) };
      if (logger === undefined) waiting.push(entry);
      else logger.log(entry);
    },
    reopen() {
      if (logFile === undefined) return;
      const [oldSink, oldTransport] = [sink, transport];
      try {
        sink = openSink(logFile, format);
      } catch (error) {
        this.write('log-file-kept', { level: 'warn', text: toReport(error).message });
        return;
      }
      // at once: what is logged from now on belongs in the new file
      if (oldTransport === undefined) return void oldSink.end();
      transport = attach();
      logger?.add(transport).remove(oldTransport);
      oldTransport.once('finish', () => oldSink.end()).end();
    },
    async close() {
      await loaded;
      const ended = new Promise((resolve) => logger?.once('finish', resolve));
      logger?.end();
      await ended;
      if (sink !== process.stderr) await new Promise((resolve) => sink.end(resolve));
    },
  };
}

function chooseFormat(logFormat: Config['logFormat'], isStderr: boolean): Format {
  const isForJournal = isStderr && isJournal(process.env, 2);
  const isText = logFormat === 'text' || (logFormat === 'auto' && isStderr && (process.stderr.isTTY || isForJournal));
  if (!isForJournal) return isText ? toText : toJson;
  return (entry) => withPriority(entry.level, isText ? toPlain(entry) : toJson({ ...entry, time: undefined }));
}

function openSink(logFile: string | undefined, format: Format): Writable {
  if (logFile === undefined) {
    process.stderr.on('error', () => {}); // EPIPE, EIO: whoever read the log is gone; the services go on
    return process.stderr;
  }
  try {
    return new LogFile(openSync(logFile, 'a', 0o640), format);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GracefulError('log-file-unwritable', `cannot write log file ${logFile}: ${reason}`, { hint: 'pass another --log-file', cause });
  }
}

/** Never fails: while the disk is full lines are lost and counted, and the first one after it says how many. */
class LogFile extends Writable {
  readonly #fd: number;
  readonly #format: Format;
  #lost = 0;

  constructor(fd: number, format: Format) {
    super({ decodeStrings: false });
    this.#fd = fd;
    this.#format = format;
  }

  override _write(line: string, _encoding: BufferEncoding, callback: () => void): void {
    appendFile(this.#fd, this.#lost === 0 ? line : `\n${this.#format(gap(this.#lost))}\n${line}`, (error) => {
      this.#lost = error ? this.#lost + 1 : 0;
      callback();
    });
  }

  override _final(callback: () => void): void {
    close(this.#fd, callback);
  }
}

function gap(lost: number): Entry {
  return { time: new Date().toISOString(), level: 'warn', event: 'log-lines-lost', message: `the log file could not be written: ${lost} lines are missing` };
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
  return typeof stack === 'string' ? `${message}\n${stack.replace(/^/gm, '    ')}` : message;
}
