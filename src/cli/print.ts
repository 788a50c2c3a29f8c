/** What commands say: text that others may have written, for a terminal. */
import { printable } from '../printable.ts';

/** A line, or several. */
export function print(text: string, stream: NodeJS.WritableStream = process.stdout): void {
  stream.write(`${printable(text)}\n`);
}
