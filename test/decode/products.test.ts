/** Products of a few rows with reduced weights, against their definition in float64. */

import type { WeightDType } from '../../lib/decode/matrix';
import { availableIsas, getIsa, setIsa } from '../../lib/device';
import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { Generator } from '../../lib/random';
import { Storage } from '../../lib/storage';
import { toBf16 } from './support';

const isa = getIsa();
afterEach(() => setIsa(isa));

const bufferOf = (values: ArrayLike<number>): Storage => {
  const buffer = new Storage(values.length, 'float32');
  new Float32Array(native.arrayBuffer(buffer.handle)).set(Array.from(values));
  return buffer;
};

/** x [rows, blocks·k] by weights [blocks·features, k], one block of features for each block of x. */
interface Case {
  rows: number;
  blocks: number;
  features: number;
  k: number;
  x: Float32Array;
  weights: Float32Array;
}

function randomCase(rows: number, blocks: number, features: number, k: number): Case {
  const generator = new Generator(rows * 1000 + k);
  const values = (count: number) => Float32Array.from({ length: count }, () => generator.nextInt(2001) / 1000 - 1);
  return { rows, blocks, features, k, x: values(rows * blocks * k), weights: values(blocks * features * k) };
}

/** The product on the device, and in float64 with the weights as they were rounded. */
function products({ rows, blocks, features, k, x, weights }: Case, dtype: WeightDType) {
  const [out, size] = [blocks * features, blocks * features * k];
  using exact = bufferOf(weights);
  using reduced = new Storage(size, dtype);
  using scales = new Storage(out, 'float32');
  if (dtype === 'int8') kernels.quantize({ x: exact, y: reduced, scales, rows: out, columns: k });
  else if (dtype === 'bfloat16') kernels.cast({ x: exact, y: reduced });
  else kernels.copy({ x: exact, y: reduced });
  using widened = new Storage(size, 'float32');
  if (dtype === 'float32') kernels.copy({ x: exact, y: widened });
  else
    kernels.dequantize({
      x: reduced,
      scales: dtype === 'int8' ? scales.handle : null,
      y: widened,
      rows: out,
      columns: k,
    });
  using input = bufferOf(x);
  using y = new Storage(rows * out, 'float32');
  // As the first factor of a pair whose second one is the identity, since blocks belong to first factors.
  const eye = Float32Array.from({ length: out * out }, (_, i) => (i % (out + 1) === 0 ? 1 : 0));
  using second = bufferOf(blocks > 1 ? eye : []);
  const dims = blocks > 1 ? [blocks, features, k, 1, out, out, 0] : [1, k, k, 1, features, k, 0];
  const scale = dtype === 'int8' ? scales.handle : null;
  const [first, last] = blocks > 1 ? [reduced.handle, second.handle] : [null, reduced.handle];
  kernels.decode_linear({
    x: input,
    v: first,
    v_scales: blocks > 1 ? scale : null,
    u: last,
    u_scales: blocks > 1 ? null : scale,
    bias: null,
    y,
    n: rows,
    dims: Int32Array.from(dims),
    activation: native.activations.none,
    int8_rows: 0,
  });
  const w = widened.toArray();
  // Where pairs of bfloat16 are multiplied, several rows are rounded to it, too; many rows only if both factors are bfloat16.
  const pairs = dtype === 'bfloat16' && getIsa() === 'avx512bf16';
  const roundsRows = pairs && rows >= 8 && (blocks === 1 || rows <= 32);
  const seen = roundsRows ? x.map(toBf16) : x;
  const expected = Float64Array.from({ length: rows * out }, (_, i) => {
    const [row, feature] = [Math.floor(i / out), i % out];
    const from = row * blocks * k + Math.floor(feature / features) * k;
    let sum = 0;
    for (let j = 0; j < k; j++) sum += seen[from + j]! * w[feature * k + j]!;
    return sum;
  });
  return { y: y.toArray(), expected };
}

/** Of the whole result, relative to its norm. */
function difference(y: Float32Array, expected: Float64Array): number {
  const norm = (values: ArrayLike<number>) => Math.sqrt(Array.from(values).reduce((total, v) => total + v * v, 0));
  return norm(expected.map((value, i) => y[i]! - value)) / norm(expected);
}

describe.each(availableIsas())('%s', (name) => {
  beforeEach(() => setIsa(name));

  test.each(['float32', 'bfloat16', 'int8'] as const)('%s weights: odd widths, rows and blocks', (dtype) => {
    for (const k of [1, 7, 16, 31, 33, 64, 127, 196])
      for (const [rows, blocks, features] of [
        [1, 1, 53],
        [2, 3, 5],
        [3, 1, 1],
        [5, 2, 19],
        [8, 1, 24],
        [12, 1, 7],
        [13, 1, 67],
        [33, 1, 7],
        [40, 3, 18],
        [65, 1, 3],
        [129, 1, 5],
      ] as const) {
        const { y, expected } = products(randomCase(rows, blocks, features, k), dtype);
        // In int8 products of up to 128 rows, the rows have 16 bits; more rows meet widened weights.
        expect(difference(y, expected)).toBeLessThan(dtype === 'int8' && rows <= 128 ? 1e-4 : 1e-6);
      }
  });

  test('the sums of int8 products hold the largest values', () => {
    const [rows, features, k] = [1, 3, 20_011];
    const all = (count: number) => new Float32Array(count).fill(1);
    const { y } = products({ rows, blocks: 1, features, k, x: all(rows * k), weights: all(features * k) }, 'int8');
    for (const value of y) expect(value / k).toBeCloseTo(1, 5);
  });

  test('an input that is not finite is seen in its row, and only there', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const problem = randomCase(3, 1, 5, 40);
      problem.x[40 + 17] = bad;
      const { y } = products(problem, 'int8');
      expect(Array.from(y, Number.isFinite)).toEqual(Array.from({ length: 15 }, (_, i) => i < 5 || i >= 10));
    }
  });

  test('a row of zeros gives zeros', () => {
    const problem = randomCase(2, 1, 5, 33);
    problem.x.fill(0, 0, 33);
    const { y } = products(problem, 'int8');
    expect([...y.subarray(0, 5)]).toEqual([0, 0, 0, 0, 0]);
    expect(y[5]).not.toBe(0);
  });
});
