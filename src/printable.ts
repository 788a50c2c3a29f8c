/** Text from elsewhere (a program's errors, a master's answers, names of files), for a terminal or a log that people read. */

/** Colours, titles of windows and their like, whole. @see ECMA-48 §5.4, §8.3.89 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const SEQUENCES = /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*[0-~]/g;
/** What else a terminal would obey rather than show: C0 but for tab and line feed, DEL, C1. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const CONTROLS = /[\0-\x08\x0b-\x1f\x7f-\x9f]/g;

/** The text without all that would be obeyed. */
export function printable(text: string): string {
  return text.replace(SEQUENCES, '').replace(CONTROLS, '');
}
