/** Typed arrays over every kind of memory that a caller may have. */
import type { TestRandom } from '../support/random';
import type { Draw } from './draw';

/** ES2024's constructor options, which this version of the type library does not know. */
type Growing = new (bytes: number, options: { maxByteLength: number }) => ArrayBuffer;
const ResizableBuffer = ArrayBuffer as unknown as Growing;
const GrowableBuffer = SharedArrayBuffer as unknown as Growing;

/** What a call may do with it. */
export interface Given {
  readonly array: Float32Array;
  /** Synchronous calls take it. */
  readonly honest: boolean;
  /** Asynchronous calls take it, too. */
  readonly own: boolean;
}

const filled = (array: Float32Array, random: TestRandom): Float32Array => {
  for (let i = 0; i < array.length; i++) array[i] = random.int(-16, 16) / 16;
  return array;
};

export function detach(array: Float32Array): void {
  if (array.buffer instanceof ArrayBuffer) structuredClone(array.buffer, { transfer: [array.buffer] });
}

const MAKERS: readonly ((length: number, random: TestRandom) => Given)[] = [
  (length, random) => ({ array: filled(new Float32Array(length), random), honest: true, own: true }),
  // In the middle of a larger one, at an odd multiple of 4 bytes.
  (length, random) => ({
    array: filled(new Float32Array(new ArrayBuffer(4 * length + 32), 12, length), random),
    honest: true,
    own: true,
  }),
  (length, random) => ({
    array: filled(new Float32Array(new SharedArrayBuffer(4 * length)), random),
    honest: true,
    own: false,
  }),
  (length, random) => {
    const array = filled(new Float32Array(length), random);
    for (const name of ['length', 'byteLength', 'byteOffset'])
      Object.defineProperty(array, name, { get: () => 1 << 28 });
    return { array, honest: true, own: true };
  },
  (length, random) => ({
    array: Object.preventExtensions(filled(new Float32Array(length), random)),
    honest: true,
    own: true,
  }),
  // From here on none that is taken.
  (length, random) => {
    const array = filled(new Float32Array(length), random);
    detach(array);
    return { array, honest: false, own: false };
  },
  (length, random) => ({
    array: filled(new Float32Array(new ResizableBuffer(4 * length, { maxByteLength: 8 * length + 8 })), random),
    honest: false,
    own: false,
  }),
  (length, random) => ({
    array: filled(new Float32Array(new GrowableBuffer(4 * length, { maxByteLength: 8 * length + 8 })), random),
    honest: false,
    own: false,
  }),
  (length, random) => ({ array: filled(new Float32Array(length + 1), random), honest: false, own: false }),
  (length) => ({ array: new Float64Array(length) as unknown as Float32Array, honest: false, own: false }),
  (length) => ({ array: new Int32Array(length) as unknown as Float32Array, honest: false, own: false }),
];
const HONEST = 5;

/** Mostly one that is taken. */
export const floats = (d: Draw, length: number, random: TestRandom): Given =>
  MAKERS[d.once(6) ? d.int(0, MAKERS.length - 1) : d.int(0, HONEST - 1)]!(length, random);

/** Any of them, with its memory resized after it was made: `tensor` takes what is there at the time of the call. */
export function changing(d: Draw, random: TestRandom): ArrayLike<number> {
  const length = d.int(0, 40);
  if (!d.once(2)) return floats(d, length, random).array;
  const buffer = new ResizableBuffer(4 * length, { maxByteLength: 4 * length + 64 });
  const array = d.once(2) ? new Float32Array(buffer) : new Int32Array(buffer, 0, length >> 1);
  (buffer as unknown as { resize(bytes: number): void }).resize(4 * d.int(0, length + 16));
  return array;
}
