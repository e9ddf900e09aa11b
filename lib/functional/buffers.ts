/** Checks of raw typed arrays before native code sees them. */
import { bufferOf, byteLengthOf, byteOffsetOf, classOf, dtypeOf, isDetached, lengthOf } from '../dtype';
import { DisposedError, DTypeError, OptionError, ShapeError } from '../errors';

/** Memory whose size may change under a running kernel: a resizable ArrayBuffer, a growable SharedArrayBuffer. */
function isResizable(buffer: ArrayBufferLike): boolean {
  return ('resizable' in buffer && buffer.resizable === true) || ('growable' in buffer && buffer.growable === true);
}

/** Memory that another thread may write to. */
export const isShared = (array: Float32Array): boolean => classOf(bufferOf(array)) === 'SharedArrayBuffer';

/**
 * @throws {DTypeError} unless `value` is a Float32Array. @throws {DisposedError} when it is detached.
 * @throws {OptionError} when its memory is resizable.
 */
export function checkFloats(where: string, value: unknown): asserts value is Float32Array {
  if (dtypeOf(value) !== 'float32') throw new DTypeError(where, 'a Float32Array', classOf(value));
  const array = value as Float32Array;
  if (isDetached(array)) throw new DisposedError(where, 'the memory of the array was transferred away');
  if (isResizable(bufferOf(array))) throw new OptionError(where, 'memory of a fixed size', 'a resizable buffer');
}

/** As checkFloats. @throws {ShapeError} unless there are `length` elements. */
export function checkLength(where: string, value: unknown, length: number): asserts value is Float32Array {
  checkFloats(where, value);
  if (lengthOf(value) !== length) throw new ShapeError(where, `${length} elements`, String(lengthOf(value)));
}

/** Rows of x [n, features]. As checkFloats. @throws {ShapeError} unless x holds one or more whole rows. */
export function checkRows(where: string, x: unknown, features: number): number {
  checkFloats(where, x);
  const length = lengthOf(x);
  if (length === 0 || length % features !== 0)
    throw new ShapeError(where, `one or more rows of ${features} features`, `${length} elements`);
  return length / features;
}

function overlaps(a: Float32Array, b: Float32Array): boolean {
  const [startA, startB] = [byteOffsetOf(a), byteOffsetOf(b)];
  return bufferOf(a) === bufferOf(b) && startA < startB + byteLengthOf(b) && startB < startA + byteLengthOf(a);
}

/** @throws {OptionError} when an output shares memory with an input or with another output. */
export function checkApart(where: string, inputs: readonly Float32Array[], outputs: readonly Float32Array[]): void {
  outputs.forEach((output, i) => {
    if (inputs.some((input) => overlaps(input, output)))
      throw new OptionError(`${where}: out`, 'memory apart from the inputs', 'an array that overlaps one');
    if (outputs.slice(0, i).some((other) => overlaps(other, output)))
      throw new OptionError(`${where}: out`, 'memory apart from the other outputs', 'an array that overlaps one');
  });
}
