import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { printable } from '../../src/printable.ts';

test('what a terminal obeys is left out, whole; what it shows is not', () => {
  for (const [text, shown] of [
    ['plain ünïcode ☃\tand\nlines', 'plain ünïcode ☃\tand\nlines'],
    ['\u001b[31mred\u001b[39m \u009b1mbold', 'red bold'],
    ['\u001b]0;a title\u0007text \u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\', 'text link'],
    ['\u001bPdevice\u001b\\control \u001b(0charset \u001bc', 'control charset '],
    ['over\rwritten\b\u007f\u0085, unended \u001b]0;title', 'overwritten, unended 0;title'],
  ] as const) {
    assert.equal(printable(text), shown);
  }
});

test('whatever it is given, nothing is left that a terminal obeys', () => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => !/[\0-\x08\x0b-\x1f\x7f-\x9f]/.test(printable(text))));
});
