/** Raw typed arrays, and their checks before native code sees them. */
import { type ArrayOf, bufferOf, byteLengthOf, byteOffsetOf, classOf, isDetached, lengthOf, tagOf } from '../dtype';
import { DisposedError, DTypeError, OptionError, ShapeError } from '../errors';

/** Element types that layers compute with. */
export type RawType = 'float32' | 'bfloat16';

/** What layers compute on: float32, or bfloat16 by its bits. */
export type RawArray = ArrayOf<RawType>;

const ARRAYS: Readonly<Record<RawType, { readonly tag: string; readonly name: string }>> = {
  float32: { tag: 'Float32Array', name: 'a Float32Array' },
  bfloat16: { tag: 'Uint16Array', name: 'a Uint16Array of bfloat16 bits' },
};

/** The element type of an array that the others of a call must have, too. @throws {DTypeError} for another kind of value. */
export function rawTypeOf(where: string, value: unknown): RawType {
  const tag = tagOf(value);
  for (const type of ['float32', 'bfloat16'] as const) if (ARRAYS[type].tag === tag) return type;
  throw new DTypeError(where, `${ARRAYS.float32.name} or ${ARRAYS.bfloat16.name}`, classOf(value));
}

/** Memory whose size may change under a running kernel: a resizable ArrayBuffer, a growable SharedArrayBuffer. */
function isResizable(buffer: ArrayBufferLike): boolean {
  return ('resizable' in buffer && buffer.resizable === true) || ('growable' in buffer && buffer.growable === true);
}

/** Memory that another thread may write to. */
export const isShared = (array: RawArray): boolean => classOf(bufferOf(array)) === 'SharedArrayBuffer';

/**
 * @throws {DTypeError} unless `value` is an array of the type. @throws {DisposedError} when it is detached.
 * @throws {OptionError} when its memory is resizable.
 */
export function checkRaw<T extends RawType>(where: string, value: unknown, type: T): asserts value is ArrayOf<T> {
  const { tag, name } = ARRAYS[type];
  if (tagOf(value) !== tag) throw new DTypeError(where, name, classOf(value));
  const array = value as RawArray;
  if (isDetached(array)) throw new DisposedError(where, 'the memory of the array was transferred away');
  if (isResizable(bufferOf(array))) throw new OptionError(where, 'memory of a fixed size', 'a resizable buffer');
}

/** As checkRaw. @throws {ShapeError} unless there are `length` elements. */
export function checkLength<T extends RawType>(
  where: string,
  value: unknown,
  length: number,
  type: T,
): asserts value is ArrayOf<T> {
  checkRaw(where, value, type);
  if (lengthOf(value) !== length) throw new ShapeError(where, `${length} elements`, String(lengthOf(value)));
}

/** Rows of x [n, features]. As checkRaw. @throws {ShapeError} unless x holds one or more whole rows. */
export function checkRows(where: string, x: unknown, features: number, type: RawType): number {
  checkRaw(where, x, type);
  const length = lengthOf(x);
  if (length === 0 || length % features !== 0)
    throw new ShapeError(where, `one or more rows of ${features} features`, `${length} elements`);
  return length / features;
}

function overlaps(a: RawArray, b: RawArray): boolean {
  const [startA, startB] = [byteOffsetOf(a), byteOffsetOf(b)];
  return bufferOf(a) === bufferOf(b) && startA < startB + byteLengthOf(b) && startB < startA + byteLengthOf(a);
}

/** @throws {OptionError} when an output shares memory with an input or with another output. */
export function checkApart(where: string, inputs: readonly RawArray[], outputs: readonly RawArray[]): void {
  outputs.forEach((output, i) => {
    if (inputs.some((input) => overlaps(input, output)))
      throw new OptionError(`${where}: out`, 'memory apart from the inputs', 'an array that overlaps one');
    if (outputs.slice(0, i).some((other) => overlaps(other, output)))
      throw new OptionError(`${where}: out`, 'memory apart from the other outputs', 'an array that overlaps one');
  });
}
