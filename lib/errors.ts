/**
 * Every error of the library. Each has a stable `code`; the message names what was wrong, what was expected and what came.
 */
export class SffnError extends Error {
  constructor(
    /** What kind of error it is, such as `ERR_SHAPE`: stable from release to release. */
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** Sizes that do not fit. `blockDiag: expected x of [..., 16], got [1, 9]`. */
export class ShapeError extends SffnError {
  constructor(where: string, expected: string, got: string) {
    super('ERR_SHAPE', `${where}: expected ${expected}, got ${got}`);
  }
}

/** An element type that the operation does not take. */
export class DTypeError extends SffnError {
  constructor(where: string, expected: string, got: string) {
    super('ERR_DTYPE', `${where}: expected ${expected}, got ${got}`);
  }
}

/** A device that is not there, or operands on different devices. */
export class DeviceError extends SffnError {
  constructor(message: string) {
    super('ERR_DEVICE', message);
  }
}

/** An option or argument with a value that makes no sense, or an option that does not exist. */
export class OptionError extends SffnError {
  constructor(message: string);
  constructor(where: string, expected: string, got: unknown);
  constructor(where: string, expected?: string, got?: unknown) {
    super('ERR_OPTION', expected === undefined ? where : `${where}: expected ${expected}, got ${describe(got)}`);
  }
}

/** An index or id outside its range. */
export class IndexError extends SffnError {
  constructor(where: string, expected: string, got: unknown) {
    super('ERR_RANGE', `${where}: expected ${expected}, got ${describe(got)}`);
  }
}

/** A tensor or buffer used after it was disposed, detached or transferred. */
export class DisposedError extends SffnError {
  constructor(where: string, what: string) {
    super('ERR_DISPOSED', `${where}: ${what}`);
  }
}

/** Memory ran out: the limit was reached or the system refused. The library stays usable. */
export class OutOfMemoryError extends SffnError {
  constructor(message: string) {
    super('ERR_OUT_OF_MEMORY', message);
  }
}

/** Something that a CUDA graph cannot hold, met while one is recorded. */
export class RecordingError extends SffnError {
  constructor(message: string) {
    super('ERR_RECORDING', message);
  }
}

/** backward() on something that has no graph, a second backward(), and the like. */
export class GradientError extends SffnError {
  constructor(message: string) {
    super('ERR_GRADIENT', message);
  }
}

/** A state dict that does not belong to the module. */
export class StateDictError extends SffnError {
  constructor(message: string) {
    super('ERR_STATE_DICT', message);
  }
}

/** A file that is missing or cannot be read or written. */
export class FileError extends SffnError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_FILE', message, options);
  }
}

/** A file whose content is not what its format promises. */
export class FormatError extends SffnError {
  constructor(file: string, problem: string) {
    super('ERR_FORMAT', `${file}: ${problem}`);
  }
}

/** The native addon is missing or does not load. */
export class BinaryError extends SffnError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_BINARY', message, options);
  }
}

/** Elements of an array that a message has room for. */
const MOST_DESCRIBED = 16;

function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (Array.isArray(value)) {
    const elements = Array.from(value.slice(0, MOST_DESCRIBED), describeElement);
    return `[${[...elements, ...(value.length > MOST_DESCRIBED ? ['...'] : [])].join(', ')}]`;
  }
  if (value !== null && typeof value === 'object') return classNameOf(value);
  if (typeof value === 'function') return 'a function';
  return String(value);
}

/** Of an array: text is not quoted, and what is in it in turn is not looked at. */
const describeElement = (value: unknown): string =>
  Array.isArray(value) ? `[${value.length} elements]` : typeof value === 'string' ? value : describe(value);

function classNameOf(value: object): string {
  const name: unknown = value.constructor?.name;
  return typeof name === 'string' ? name : 'object';
}

/** `[2, 3]`, as shapes are written in messages. */
export const formatShape = (shape: readonly number[]): string => `[${Array.from(shape, String).join(', ')}]`;

/** Throws OptionError unless `value` is the path of a file or folder. */
export function checkPath(where: string, value: unknown): asserts value is string {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) throw new OptionError(where, 'a path', value);
}

/** Throws OptionError unless `value` is a function. */
export function checkFunction(where: string, value: unknown): void {
  if (typeof value !== 'function') throw new OptionError(where, 'a function', value);
}

/** Throws OptionError unless `value` is an array, plain or typed; what is in it is not looked at. */
export function checkNumbers(where: string, value: unknown): asserts value is ArrayLike<number> {
  if (!Array.isArray(value) && !(ArrayBuffer.isView(value) && 'length' in value))
    throw new OptionError(where, 'an array of numbers', value);
}

/** Throws OptionError unless `value` is an array of names. */
export function checkNames(where: string, value: unknown): asserts value is readonly string[] {
  if (!Array.isArray(value) || Array.from(value).some((name) => typeof name !== 'string'))
    throw new OptionError(where, 'an array of names', value);
}

/** Throws OptionError unless `value` is an AbortSignal, of this library's realm or another. */
export function checkSignal(where: string, value: unknown): asserts value is AbortSignal {
  const { aborted, addEventListener } = (value ?? {}) as Partial<AbortSignal>;
  if (typeof aborted !== 'boolean' || typeof addEventListener !== 'function')
    throw new OptionError(where, 'an AbortSignal', value);
}

/** Throws OptionError unless `value` is true or false. */
export function checkBoolean(where: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') throw new OptionError(where, 'true or false', value);
}

/** Throws DisposedError for an object that was disposed. */
export function checkAlive(where: string, disposed: boolean): void {
  if (disposed) throw new DisposedError(where, 'it was disposed');
}

/** Throws OptionError unless `value` is of a class. */
export function checkInstance<T>(
  where: string,
  value: unknown,
  type: abstract new (...args: never[]) => T,
): asserts value is T {
  if (!(value instanceof type)) throw new OptionError(where, `a ${type.name}`, value);
}

/** Throws OptionError unless `value` is a whole number of at least `min`. */
export function checkInteger(where: string, value: unknown, min = 1): asserts value is number {
  if (!Number.isSafeInteger(value) || (value as number) < min)
    throw new OptionError(where, `a whole number of at least ${min}`, value);
}

/** Throws OptionError unless `value` is a finite number in [min, max]. */
export function checkNumber(
  where: string,
  value: unknown,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
): asserts value is number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < min || value > max)
    throw new OptionError(where, rangeText(min, max), value);
}

function rangeText(min: number, max: number): string {
  if (min > Number.NEGATIVE_INFINITY && max < Number.POSITIVE_INFINITY) return `a number from ${min} to ${max}`;
  if (min > Number.NEGATIVE_INFINITY) return `a number of at least ${min}`;
  return 'a finite number';
}

/** Throws OptionError unless `value` is one of `choices`. */
export function checkChoice<T extends string>(
  where: string,
  value: unknown,
  choices: readonly T[],
): asserts value is T {
  if (!choices.includes(value as T)) throw new OptionError(where, `one of ${choices.join(', ')}`, value);
}

const NATIVE_ERRORS: Readonly<Record<string, (message: string) => SffnError>> = {
  ERR_OUT_OF_MEMORY: (message) => new OutOfMemoryError(message),
  ERR_DEVICE: (message) => new DeviceError(message),
  ERR_DISPOSED: (message) => new DisposedError(...(message.split(': ', 2) as [string, string])),
  ERR_DTYPE: (message) => {
    const [, where, expected, got] = /^(.*?): expected (.*), got (.*)$/.exec(message) ?? [];
    return where && expected && got ? new DTypeError(where, expected, got) : new SffnError('ERR_DTYPE', message);
  },
  ERR_RECORDING: (message) => new RecordingError(message),
};

type ClassesByCode = Readonly<Record<string, { readonly prototype: SffnError; readonly name: string }>>;

const CLASSES: ClassesByCode = {
  ERR_SHAPE: ShapeError,
  ERR_DTYPE: DTypeError,
  ERR_DEVICE: DeviceError,
  ERR_OPTION: OptionError,
  ERR_RANGE: IndexError,
  ERR_DISPOSED: DisposedError,
  ERR_OUT_OF_MEMORY: OutOfMemoryError,
  ERR_RECORDING: RecordingError,
  ERR_GRADIENT: GradientError,
  ERR_STATE_DICT: StateDictError,
  ERR_FILE: FileError,
  ERR_FORMAT: FormatError,
  ERR_BINARY: BinaryError,
};

/** An error that came from another thread, which passes on its code and message alone, in the class of its code. */
export function withClassOf(code: string, message: string, others: ClassesByCode = {}): SffnError {
  const error = new SffnError(code, message);
  const type = CLASSES[code] ?? others[code];
  if (type === undefined) return error;
  Object.setPrototypeOf(error, type.prototype);
  error.name = type.name;
  return error;
}

/** A native error (a plain Error with a `code`) as the class of its code, in the caller's realm and with its stack. */
export function fromNative(error: unknown): unknown {
  if (error === null || typeof error !== 'object' || error instanceof SffnError) return error;
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code !== 'string' || typeof message !== 'string' || !code.startsWith('ERR_')) return error;
  return NATIVE_ERRORS[code]?.(message) ?? new SffnError(code, message);
}

/** Runs native code; its errors come out as the library's classes. */
export function runNative<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fromNative(error);
  }
}
