/** How a text is written in a unit file so that systemd reads just that text. @see systemd.service(5), "Command lines"; systemd.syntax(7) */

/** Arguments of a command. The program itself is no argument: `$` means nothing in it. */
export function quoteArguments(args: readonly string[]): string[] {
  return args.map((arg) => quote(arg).replaceAll('$', '$$$$'));
}

/** One item of a list that is separated by spaces. */
export function quote(text: string): string {
  const escaped = noSpecifiers(text).replaceAll('\\', '\\\\');
  if (escaped !== '' && !/[\s"';]/.test(escaped)) return escaped;
  return `"${escaped.replaceAll('"', '\\"').replaceAll('\n', '\\n').replaceAll('\t', '\\t').replaceAll('\r', '\\r')}"`;
}

/** A value that takes the whole line, in which systemd knows no quotes. */
export function noSpecifiers(text: string): string {
  return text.replaceAll('%', '%%');
}

/** A file of these lines. */
export function toText(lines: readonly string[]): string {
  return `${lines.join('\n')}\n`;
}
