/** A log that nobody reads for a while: it neither holds up the master nor grows in it, and says afterwards what is missing. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { openStream } from '../../../../src/master/log/log-sinks.ts';
import { poll } from '../../../helpers/rig.ts';

const LINES = 5_000;
const MOST_BACKLOG = 100_000;

test('a reader that stalls costs lines, not memory; how many is said when it reads again', async (t) => {
  const reader = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => reader.kill('SIGKILL')); // a stopped one would outlive a test that fails
  const ended = once(reader, 'close');
  let text = '';
  reader.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const sink = openStream(reader.stdin, (lost, why) => `${why}: ${lost} are missing`, MOST_BACKLOG);
  sink.write('first\n');
  await poll(
    () => text === 'first\n',
    () => text,
  );
  reader.kill('SIGSTOP');
  for (let line = 0; line < LINES; line++) sink.write(`${line} `.padEnd(99, 'x').concat('\n'));
  assert.ok(reader.stdin.writableLength < MOST_BACKLOG + 200, `${reader.stdin.writableLength} bytes wait`);
  reader.kill('SIGCONT');
  await poll(
    () => reader.stdin.writableLength === 0,
    () => `${reader.stdin.writableLength} bytes still wait`,
  );
  sink.write('last\n');
  await new Promise((resolve) => sink.end(resolve));
  reader.stdin.end();
  await ended;
  const [, kept = '', lost] = /^first\n((?:\d+ x+\n)+)nobody read the log: (\d+) are missing\nlast\n$/.exec(text) ?? [];
  assert.equal(kept.split('\n').length - 1 + Number(lost), LINES);
});
