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

function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (Array.isArray(value)) return `[${value.join(', ')}]`;
  if (value !== null && typeof value === 'object') return value.constructor?.name ?? 'object';
  return String(value);
}

/** `[2, 3]`, as shapes are written in messages. */
export const formatShape = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

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
