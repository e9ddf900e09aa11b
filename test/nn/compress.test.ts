/** Compression of dense matrices: exact where a structured one exists, no worse than anything near it, honest about its error. */
import { nearestFactors } from '../../lib/nn';
import type { Shape } from '../../lib/tensor';
import { TestRandom } from '../support/random';
import { type Blocks, referenceMerge } from '../support/reference';

const SHAPES: readonly [string, Shape, Shape][] = [
  ['low rank', [3, 10], [8, 3]],
  ['block-dense', [2, 3, 5], [8, 6]],
  ['Monarch, rank one', [2, 2, 5], [2, 4, 2]],
  ['Monarch, rank two', [2, 4, 5], [2, 4, 4]],
  ['Monarch, unequal counts', [5, 2, 2], [2, 4, 5]],
  ['Monarch, slices of different ranks', [2, 3, 5], [2, 4, 3]],
  ['more features than rank', [2, 8, 1], [8, 16]],
  ['one row', [1, 10], [1, 1]],
];

const blocks = (shape: Shape): Blocks => (shape.length === 3 ? shape : [1, ...shape]) as unknown as Blocks;
const numel = (shape: Shape) => shape.reduce((a, b) => a * b, 1);

function mergeOf(vShape: Shape, uShape: Shape, v: Float32Array, u: Float32Array): Float64Array {
  return referenceMerge({
    vShape: blocks(vShape),
    uShape: blocks(uShape),
    v: Float64Array.from(v),
    u: Float64Array.from(u),
  });
}

const norm = (a: ArrayLike<number>, b?: ArrayLike<number>): number =>
  Math.sqrt(Array.from(a, (value, i) => (value - (b?.[i] ?? 0)) ** 2).reduce((sum, one) => sum + one, 0));

test.each(SHAPES)('%s: a matrix of the structure comes back exactly', (_, vShape, uShape) => {
  const random = new TestRandom(1);
  const weight = Float32Array.from(mergeOf(vShape, uShape, random.array(numel(vShape)), random.array(numel(uShape))));
  const { v, u, error } = nearestFactors(weight, vShape, uShape);
  expect(norm(mergeOf(vShape, uShape, v, u), weight) / norm(weight)).toBeLessThan(1e-6);
  expect(error).toBeLessThan(1e-6);
});

test.each(SHAPES)(
  '%s: the error is what it says, and a small change of the factors only makes it larger',
  (_, vShape, uShape) => {
    const random = new TestRandom(2);
    const [, , p] = blocks(vShape);
    const weight = random.array(blocks(vShape)[0] * p * blocks(uShape)[0] * blocks(uShape)[1]);
    const { v, u, error } = nearestFactors(weight, vShape, uShape);
    const actual = norm(mergeOf(vShape, uShape, v, u), weight);
    expect(error).toBeCloseTo(actual / norm(weight), 6);
    for (let i = 0; i < 20; i++) {
      const nudge = (a: Float32Array) => a.map((value) => value + 0.02 * (random.next() - 0.5));
      expect(norm(mergeOf(vShape, uShape, nudge(v), nudge(u)), weight)).toBeGreaterThan(actual - 1e-5);
    }
  },
);

test('a matrix that a structured layer was merged into is found again by every structure that holds it', () => {
  const random = new TestRandom(5);
  const [vShape, uShape]: [Shape, Shape] = [
    [4, 16, 24],
    [4, 40, 16],
  ];
  const merged = Float32Array.from(mergeOf(vShape, uShape, random.array(numel(vShape)), random.array(numel(uShape))));
  expect(nearestFactors(merged, vShape, uShape).error).toBeLessThan(1e-6);
  // Of rank 64: LowRank and BlockDense of that rank hold it, and far more of BlockDense than it needs.
  expect(nearestFactors(merged, [64, 96], [160, 64]).error).toBeLessThan(1e-6);
  expect(nearestFactors(merged, [4, 24, 24], [160, 96]).error).toBeLessThan(1e-6);
});

test('a matrix of zeros, and one of another size', () => {
  const { v, u, error } = nearestFactors(new Float32Array(80), [3, 10], [8, 3]);
  expect([...v, ...u].every((value) => value === 0)).toBe(true);
  expect(error).toBe(0);
  expect(() => nearestFactors(new Float32Array(7), [3, 10], [8, 3])).toThrow('nearestFactors: weight: expected 8 x 10');
});

test('a matrix that says it is longer than it is, is taken for what it is', () => {
  const weight = new Float32Array(12).map((_, i) => i);
  const expected = nearestFactors(weight, [2, 4], [3, 2]);
  Object.defineProperty(weight, 'length', { value: 1 << 28 });
  expect(nearestFactors(weight, [2, 4], [3, 2])).toEqual(expected);
});
