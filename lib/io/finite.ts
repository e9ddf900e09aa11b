/**
 * Weights must be finite. A value that is not is reported by name before it spoils everything that it is multiplied
 * with.
 */
import { type TypedArray, tagOf } from '../dtype';
import { FormatError } from '../errors';

/** Elements checked in one call: a short function that is called often is compiled well. */
const PIECE = 4096;

/**
 * 0·x is NaN unless x is finite, and a sum with NaN in it stays NaN: no branch for each element. There are four sums,
 * because a single one would wait for itself.
 */
function isFinitePiece(data: Float32Array, begin: number, end: number): boolean {
  let [a, b, c, d] = [0, 0, 0, 0];
  let i = begin;
  for (; i + 3 < end; i += 4) {
    a += 0 * data[i]!;
    b += 0 * data[i + 1]!;
    c += 0 * data[i + 2]!;
    d += 0 * data[i + 3]!;
  }
  for (; i < end; i++) a += 0 * data[i]!;
  return a + b + c + d === 0;
}

/** Where the first element is that is not finite; -1 for none. */
export function firstNotFinite(data: Float32Array): number {
  for (let begin = 0; begin < data.length; begin += PIECE) {
    const end = Math.min(begin + PIECE, data.length);
    if (!isFinitePiece(data, begin, end))
      return begin + data.subarray(begin, end).findIndex((value) => !Number.isFinite(value));
  }
  return -1;
}

/** The same for the bits of bfloat16. A callback for each element would take ten times as long. */
function firstBadBits(bits: Uint16Array): number {
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7f80) === 0x7f80) return i;
  return -1;
}

/** @throws {FormatError} naming the first element that is not finite. */
export function checkFinite(path: string, name: string, data: TypedArray | Uint16Array | Int8Array): void {
  const tag = tagOf(data);
  const at =
    tag === 'Float32Array'
      ? firstNotFinite(data as Float32Array)
      : tag === 'Uint16Array'
        ? firstBadBits(data as Uint16Array)
        : -1;
  if (at < 0) return;
  const value = tag === 'Float32Array' ? data[at] : 'NaN or infinite';
  throw new FormatError(path, `tensor '${name}' is not finite: element ${at} is ${value}`);
}
