/**
 * State of a program as JSON, for a worker that may run on another version of Node. V8's own format can't be that: it is always written as the newest one,
 * which an older V8 refuses. What can cross is still V8's to say (it is what can be structured-cloned): state is cloned first, and a clone is made of
 * little more than what is told apart here.
 *
 *   [format, root, objects]; a value is a string, a finite number, true, false or null, as it is; [n] the object number n; [tag, text] any other primitive
 */
type Value = string | number | boolean | null | readonly [number] | readonly [tag: string, text?: string];
/** Its kind, and what it is made of. */
type Entry = readonly [kind: string, ...parts: Value[]];
type Written = readonly [format: number, root: Value, objects: readonly Entry[]];

const FORMAT = 1;

/** Longest state of a connection, in bytes as V8 serializes it. */
export const STATE_LIMIT: number = 64 * 1024;

/** @throws an error for the log if it can't cross: for what structuredClone refuses, such as functions, symbols and sockets, or if it is too long */
export function writeState(state: unknown): unknown {
  const { deserialize, serialize } = process.getBuiltinModule('node:v8');
  const bytes = serialize(state);
  if (bytes.length > STATE_LIMIT) throw new RangeError(`the exported state takes ${bytes.length} bytes, the limit is ${STATE_LIMIT}`);
  const numbers = new Map<object, number>();
  const found: object[] = [];
  const write = (value: unknown): Value => {
    if (typeof value !== 'object' || value === null) return writePrimitive(value);
    const number = numbers.get(value) ?? found.push(value) - 1;
    numbers.set(value, number);
    return [number];
  };
  const root = write(deserialize(bytes));
  const objects: Entry[] = [];
  for (const object of found) objects.push(writeObject(object, write)); // more are found meanwhile
  return [FORMAT, root, objects] satisfies Written;
}

/** @throws an error for the log if this version of Node, or of this package, has no such thing */
export function readState(written: unknown): unknown {
  const [format, root, objects] = written as Written;
  if (format !== FORMAT) throw new TypeError(`it is written in format ${format}, and format ${FORMAT} is read here`);
  const made = objects.map(makeObject);
  const read = (value: Value): unknown => {
    if (!Array.isArray(value)) return value;
    return typeof value[0] === 'number' ? made[value[0]] : readPrimitive(value as [string, string?]);
  };
  for (const [index, entry] of objects.entries()) fillObject(made[index] as object, entry, read);
  return read(root);
}

function writePrimitive(value: unknown): Value {
  if (typeof value === 'bigint') return ['bigint', String(value)];
  if (value === undefined) return ['undefined'];
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) return ['number', Object.is(value, -0) ? '-0' : String(value)];
  return value as Value;
}

function readPrimitive([tag, text = '']: readonly [string, string?]): unknown {
  if (tag === 'bigint') return BigInt(text);
  return tag === 'number' ? Number(text) : undefined;
}

function writeObject(object: object, write: (value: unknown) => Value): Entry {
  const { isBoxedPrimitive, isNativeError } = process.getBuiltinModule('node:util').types;
  if (Array.isArray(object)) return isDense(object) ? ['list', ...object.map(write)] : ['array', object.length, ...pairs(object, write)];
  if (object instanceof Map) return ['Map', ...[...object].flatMap(([key, value]) => [write(key), write(value)])];
  if (object instanceof Set) return ['Set', ...[...object].map(write)];
  if (object instanceof Date) return ['Date', write(object.getTime())];
  if (object instanceof RegExp) return ['RegExp', object.source, object.flags];
  if (object instanceof ArrayBuffer) return ['ArrayBuffer', Buffer.from(object).toString('base64')];
  if (ArrayBuffer.isView(object)) return ['view', object.constructor.name, Buffer.from(object.buffer, object.byteOffset, object.byteLength).toString('base64')];
  if (isNativeError(object)) return ['Error', object.name, write(object.message), write(object.stack), ...('cause' in object ? [write(object.cause)] : [])];
  if (isBoxedPrimitive(object)) return ['boxed', write(object.valueOf())];
  if (Object.getPrototypeOf(object) !== Object.prototype) throw new TypeError(`${Object.prototype.toString.call(object)} can't be handed over`);
  return ['object', ...pairs(object, write)];
}

/** No holes, and no properties besides. */
function isDense(array: readonly unknown[]): boolean {
  const keys = Object.keys(array);
  return keys.length === array.length && keys.every((key, index) => key === String(index));
}

function pairs(object: object, write: (value: unknown) => Value): Value[] {
  return Object.entries(object).flatMap(([key, value]) => [key, write(value)]);
}

/** Objects may refer to each other in any order: all are made before those that contain others are filled. */
function makeObject([kind, first, second]: Entry): object {
  switch (kind) {
    case 'list':
    case 'array':
      return [];
    case 'object':
      return {};
    case 'Map':
      return new Map();
    case 'Set':
      return new Set();
    case 'Date':
      return new Date(typeof first === 'number' ? first : Number.NaN);
    case 'RegExp':
      return new RegExp(first as string, second as string);
    case 'ArrayBuffer':
      return readBytes(first).buffer;
    case 'view':
      return makeView(first as string, readBytes(second));
    case 'Error':
      return makeError(first as string);
    case 'boxed':
      return Object(Array.isArray(first) ? readPrimitive(first as [string, string]) : first) as object;
    default:
      throw new TypeError(`this version does not know what ${kind} is`);
  }
}

function fillObject(object: object, [kind, ...parts]: Entry, read: (value: Value) => unknown): void {
  if (object instanceof Map) for (let at = 0; at < parts.length; at += 2) object.set(read(parts[at] as Value), read(parts[at + 1] as Value));
  else if (object instanceof Set) for (const part of parts) object.add(read(part));
  else if (kind === 'list') for (const part of parts) (object as unknown[]).push(read(part));
  else if (kind === 'array') fillPairs(Object.assign(object, { length: parts[0] }), parts.slice(1), read);
  else if (kind === 'object') fillPairs(object, parts, read);
  else if (kind === 'Error') fillError(object, parts.slice(1), read);
}

/** `__proto__`, too, is a property like others. */
function fillPairs(object: object, parts: readonly Value[], read: (value: Value) => unknown): void {
  for (let at = 0; at < parts.length; at += 2) define(object, parts[at] as string, read(parts[at + 1] as Value), true);
}

function fillError(object: object, [message, stack, ...cause]: readonly Value[], read: (value: Value) => unknown): void {
  if (message !== undefined) define(object, 'message', read(message), false);
  if (stack !== undefined) define(object, 'stack', read(stack), false);
  for (const value of cause) define(object, 'cause', read(value), false);
}

function define(object: object, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(object, key, { value, enumerable, writable: true, configurable: true });
}

function makeError(name: string): Error {
  const known = [EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].find((type) => type.name === name);
  return new (known ?? Error)();
}

/** Of a kind that this version of Node may not have yet. */
function makeView(name: string, bytes: Uint8Array<ArrayBuffer>): object {
  if (name === 'Buffer') return Buffer.from(bytes.buffer);
  const View = (globalThis as unknown as Record<string, (new (buffer: ArrayBuffer) => ArrayBufferView) | undefined>)[name];
  if (View === undefined) throw new TypeError(`this version of Node, ${process.version}, has no ${name}`);
  return new View(bytes.buffer);
}

/** In memory of their own: a Buffer's may be shared. */
function readBytes(text: Value | undefined): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text as string, 'base64'));
}
