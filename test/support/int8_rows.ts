/**
 * Products of int8 weights with rows that are rounded to int8, against the definition: integers multiplied exactly, then
 * two scales. Plain functions without jest, so that they run under emulation, too (scripts/test_neon.mjs).
 */
import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { Generator } from '../../lib/random';
import { Storage } from '../../lib/storage';

/** x [rows, blocks·k] by weights [blocks·features, k], one block of features for each block of x. */
export interface RowsCase {
  readonly rows: number;
  readonly blocks: number;
  readonly features: number;
  readonly k: number;
  readonly x: Float32Array;
  readonly weights: Int8Array;
  readonly scales: Float32Array;
}

export function rowsCase(rows: number, blocks: number, features: number, k: number): RowsCase {
  const generator = new Generator(rows * 1009 + features * 31 + k);
  const floats = (count: number) => Float32Array.from({ length: count }, () => generator.nextInt(20_001) / 1000 - 10);
  const weights = Int8Array.from({ length: blocks * features * k }, () => generator.nextInt(256) - 128);
  return { rows, blocks, features, k, x: floats(rows * blocks * k), weights, scales: floats(blocks * features) };
}

const storageOf = (values: Float32Array | Int8Array): Storage => {
  const storage = new Storage(values.length, values instanceof Int8Array ? 'int8' : 'float32');
  storage.withBytes((bytes) => bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)));
  return storage;
};

/** What the kernel computes. */
export function productOf({ rows, blocks, features, k, x, weights, scales }: RowsCase): Float32Array {
  const out = blocks * features;
  using input = storageOf(x);
  using matrix = storageOf(weights);
  using ofRows = storageOf(scales);
  using y = new Storage(rows * out, 'float32');
  // Blocks belong to first factors: the second one is the identity then.
  using eye = storageOf(Float32Array.from({ length: blocks > 1 ? out * out : 0 }, (_, i) => +(i % (out + 1) === 0)));
  const first = blocks > 1;
  kernels.decode_linear({
    x: input,
    v: first ? matrix : null,
    v_scales: first ? ofRows : null,
    u: first ? eye : matrix,
    u_scales: first ? null : ofRows,
    bias: null,
    y,
    n: rows,
    dims: Int32Array.from(first ? [blocks, features, k, 1, out, out, 0] : [1, k, k, 1, features, k, 0]),
    activation: native.activations.none,
    int8_rows: 1,
  });
  return y.toArray();
}

/** To the nearest integer, ties to even. */
function rounded(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

/** The definition, in float32 where the kernel rounds to it: to the last bit. */
export function definitionOf({ rows, blocks, features, k, x, weights, scales }: RowsCase): Float32Array {
  const { fround } = Math;
  const y = new Float32Array(rows * blocks * features);
  for (let row = 0; row < rows; row++)
    for (let block = 0; block < blocks; block++) {
      const part = x.subarray((row * blocks + block) * k, (row * blocks + block + 1) * k);
      const scale = fround(part.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127);
      const q = Array.from(part, (value) =>
        scale > 0 ? Math.max(-127, Math.min(127, rounded(fround(value / scale)))) : 0,
      );
      for (let i = 0; i < features; i++) {
        const feature = block * features + i;
        let sum = 0;
        for (let j = 0; j < k; j++) sum += q[j]! * weights[feature * k + j]!;
        y[row * blocks * features + feature] = fround(fround(fround(sum) * scales[feature]!) * scale);
      }
    }
  return y;
}

/** Below and above what is packed, and parts of tiles. */
const ROWS = [1, 2, 3, 4, 5, 7, 8, 9, 13, 17, 31, 32, 33, 67, 131] as const;
const WIDTHS = [1, 2, 3, 4, 7, 16, 31, 33, 64, 67, 127, 196, 257] as const;

/** Throws for the first result that is not the definition's, with the instruction set in use. */
export function checkInt8Rows(): void {
  // Every number of rows with one width, every width with some numbers of rows.
  for (const [blocks, features] of [
    [1, 1],
    [1, 53],
    [1, 97],
    [3, 5],
    [2, 19],
  ] as const)
    for (const [at, k] of WIDTHS.entries())
      for (const rows of k === 33 ? ROWS : [ROWS[at % 8]!, ROWS[8 + (at % 7)]!]) {
        const problem = rowsCase(rows, blocks, features, k);
        const [y, expected] = [productOf(problem), definitionOf(problem)];
        const wrong = expected.findIndex((value, i) => y[i] !== value);
        if (wrong >= 0)
          throw new Error(
            `${rows} rows, ${blocks} blocks of ${features} × ${k}: element ${wrong} is ${y[wrong]}, not ${expected[wrong]}`,
          );
      }
}
