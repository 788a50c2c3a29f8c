/** Clients that talk over a connection until they are told to stop, each answer checked. What they are made of is in clients.ts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import type { Duplex, Readable, Writable } from 'node:stream';

/** What `speaks.mjs` can be told to speak. */
export type Protocol = 'https' | 'wss' | 'tls' | 'h2c' | 'h2';

/** A client under way. */
export interface Talker extends AsyncDisposable {
  /** Right answers so far. */
  readonly answered: number;
  /** Wrong answers, and ends that it did not bring about. */
  readonly mistakes: readonly string[];
}

/** What the server answers to the n-th question of a connection; its generation is in it. */
export function isRight(protocol: Protocol, number: number, answer: string): boolean {
  return protocol === 'tls' ? new RegExp(`^${number} \\d+ line ${number}$`).test(answer) : new RegExp(`^\\d+ /${number}$`).test(answer);
}

/** Between two questions, unless a client is told to be slower. */
export const PAUSE_MS = 25;
const PATIENCE_MS = 5_000;

/** What is done for each question, and in the end. */
export interface Asking {
  /** @returns what was wrong with the answer */
  ask(number: number): Promise<string | undefined>;
  close(): void;
  readonly pauseMs?: number;
}

/** Asks one question after the other. */
export function keepAsking({ ask, close, pauseMs = PAUSE_MS }: Asking): Talker {
  const mistakes: string[] = [];
  let [answered, isStopping] = [0, false];
  const talk = (async () => {
    for (let number = 1; !isStopping && mistakes.length === 0; number++) {
      const mistake = await ask(number).catch((error: Error) => `question ${number}: ${error.message}`);
      if (mistake === undefined) answered++;
      else mistakes.push(mistake);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  })();
  return {
    get answered() {
      return answered;
    },
    mistakes,
    async [Symbol.asyncDispose]() {
      isStopping = true;
      const timer = setTimeout(close, PATIENCE_MS); // no answer comes: it ends nevertheless
      await talk;
      clearTimeout(timer);
      close();
    },
  };
}

/** Where lines are sent, and answered. */
export interface LineEnds extends Pick<Asking, 'close' | 'pauseMs'> {
  readonly input: Writable;
  readonly outputs: readonly Readable[];
  /** Commands to the client itself. */
  readonly commands?: Commands;
}

/** What a client is told between two lines, and how it says that it has obeyed. */
export interface Commands {
  before(number: number, generation: number): string | undefined;
  readonly obeyed: RegExp;
}

/** Talks in lines to the protocol `tls`. What else comes is left out: some clients are chatty. */
export function talkInLines({ input, outputs, commands, ...rest }: LineEnds): Talker {
  const heard = listen(outputs);
  let generation = 0;
  input.on('error', () => {}); // it has ended: seen at its outputs
  const ask = async (number: number) => {
    const command = commands?.before(number, generation);
    if (command !== undefined) {
      input.write(command);
      await heard(commands?.obeyed as RegExp); // s_client looks for a command only at the beginning of what it reads
    }
    input.write(`line ${number}\n`);
    const answer = await heard(/\d+ \d+ line \d+$/); // s_client may have left something on its line
    generation = Number(answer?.split(' ')[1]);
    return answer !== undefined && isRight('tls', number, answer) ? undefined : `line ${number}: ${answer ?? 'the end'}`;
  };
  return keepAsking({ ask, ...rest });
}

/** Finds the next line that ends so; undefined: there is none any more. */
function listen(outputs: readonly Readable[]): (pattern: RegExp) => Promise<string | undefined> {
  const lines: string[] = [];
  let [hasEnded, look] = [false, () => {}];
  for (const output of outputs) {
    let rest = '';
    output.setEncoding('latin1').on('data', (text: string) => {
      lines.push(...(rest + text).split('\n'));
      rest = lines.pop() ?? '';
      look();
    });
    output
      .on('error', () => {})
      .once('close', () => {
        hasEnded = true;
        look();
      });
  }
  return (pattern) =>
    new Promise((resolve) => {
      look = () => {
        while (lines.length > 0) {
          const [found] = pattern.exec(lines.shift()?.trimEnd() ?? '') ?? [];
          if (found !== undefined) return resolve(found);
        }
        if (hasEnded) resolve(undefined);
      };
      look();
    });
}

/** The same over a socket. */
export function talkOver(socket: Duplex, pauseMs: number = PAUSE_MS): Talker {
  return talkInLines({ input: socket, outputs: [socket], close: () => socket.destroy(), pauseMs });
}

/** Starts an interactive client that sends what it reads. */
export function talkThrough(command: string, args: readonly string[], commands?: Commands): Talker {
  const child = spawn(command, args, { stdio: 'pipe' });
  return talkInLines({ input: child.stdin, outputs: [child.stdout, child.stderr], ...(commands && { commands }), close: () => child.kill() });
}

/** A client that asks by itself, and writes a line for each answer. */
export interface Report {
  readonly command: string;
  readonly args: readonly string[];
  /** Where it writes, if not to its standard output. */
  readonly file: string;
  /** undefined: not the line of an answer. */
  readonly check: (line: string, number: number) => boolean | undefined;
}

/** Starts one. */
export function readReports({ command, args, file, check }: Report): Talker {
  const log = openSync(file, 'a');
  const child = spawn(command, args, { stdio: ['ignore', log, 'ignore'] });
  closeSync(log);
  const ended = endOf(child);
  let isStopping = false;
  const read = () => {
    let answered = 0;
    const mistakes: string[] = [];
    for (const line of readFileSync(file, 'latin1').split('\n').slice(0, -1)) {
      const isGood = check(line, answered + mistakes.length + 1);
      if (isGood) answered++;
      else if (isGood === false) mistakes.push(line);
    }
    return { answered, mistakes };
  };
  return {
    get answered() {
      return read().answered;
    },
    get mistakes() {
      const hasLeft = !isStopping && (child.exitCode ?? child.signalCode) !== null;
      return [...read().mistakes, ...(hasLeft ? [`${command} has ended: ${child.exitCode ?? child.signalCode}`] : [])];
    },
    async [Symbol.asyncDispose]() {
      isStopping = true;
      child.kill();
      await ended;
    },
  };
}

async function endOf(child: ChildProcess): Promise<void> {
  await once(child, 'close').catch(() => {}); // it could not be started: seen by what is missing
}
