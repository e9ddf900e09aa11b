/** Weights are finite: what is not names itself before it spoils everything that it is multiplied with. */
import { type TypedArray, tagOf } from '../dtype';
import { FormatError } from '../errors';

/** The first element that is not finite, by the kind of array; others hold whole numbers. */
const FINDERS: Readonly<Record<string, (data: ArrayLike<number>) => number>> = {
  Float32Array: (data) => (allFinite(data) ? -1 : Array.prototype.findIndex.call(data, (x) => !Number.isFinite(x))),
  // Bits of bfloat16.
  Uint16Array: (data) => Array.prototype.findIndex.call(data, (bits) => (bits & 0x7f80) === 0x7f80),
};

/** 0·x is NaN for what is not finite, and a sum with NaN in it stays NaN: no branch for each element. */
function allFinite(data: ArrayLike<number>): boolean {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += 0 * data[i]!;
  return sum === 0;
}

/** @throws {FormatError} naming the first element that is not finite. */
export function checkFinite(path: string, name: string, data: TypedArray | Uint16Array | Int8Array): void {
  const at = FINDERS[tagOf(data)]?.(data) ?? -1;
  if (at < 0) return;
  const value = tagOf(data) === 'Float32Array' ? data[at] : 'NaN or infinite';
  throw new FormatError(path, `tensor '${name}' is not finite: element ${at} is ${value}`);
}
