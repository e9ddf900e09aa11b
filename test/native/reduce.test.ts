import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { expectClose, expectSameOnAnyThreadCount, onEveryIsa, randomArray } from './support';

/** outer, extent, inner. */
const SHAPES: [number, number, number][] = [
  [1, 1, 1],
  [1, 100003, 1],
  [5, 37, 1],
  [700, 129, 1],
  [1, 17, 19],
  [3, 5, 7],
  [2, 400, 33],
  [1, 3, 5000],
  [4, 70, 1025],
];

const OPS: [keyof typeof native.reductions, (values: number[]) => number][] = [
  ['sum', (values) => values.reduce((a, b) => a + b, 0)],
  ['mean', (values) => values.reduce((a, b) => a + b, 0) / values.length],
  ['max', (values) => values.reduce((a, b) => Math.max(a, b))],
];

function columns(x: Float32Array, outer: number, extent: number, inner: number): number[][] {
  return Array.from({ length: outer * inner }, (_, at) => {
    const [o, i] = [Math.floor(at / inner), at % inner];
    return Array.from({ length: extent }, (_, j) => x[(o * extent + j) * inner + i]!);
  });
}

onEveryIsa(() => {
  describe.each(SHAPES)('[%i, %i, %i]', (outer, extent, inner) => {
    const x = randomArray(outer * extent * inner, 3, 2);

    test.each(OPS)('%s', (name, f) => {
      const y = new Float32Array(outer * inner);
      kernels.reduce({ x, y, op: native.reductions[name], outer, extent, inner });
      expectClose(y, columns(x, outer, extent, inner).map(f), 2e-7);
    });

    test('argmax', () => {
      const index = new Int32Array(outer * inner);
      kernels.argmax({ x, index, outer, extent, inner });
      const expected = columns(x, outer, extent, inner).map((values) =>
        values.indexOf(Math.max(...values.slice(0, 1e5), values.at(-1)!)),
      );
      if (extent < 1e5) expect(Array.from(index)).toEqual(expected);
      else expect(x[index[0]!]).toBe(x.reduce((a, b) => Math.max(a, b)));
    });
  });

  test('a million equal numbers lose nothing', () => {
    const y = new Float32Array(1);
    kernels.reduce({
      x: new Float32Array(1e6).fill(0.1),
      y,
      op: native.reductions.sum,
      outer: 1,
      extent: 1e6,
      inner: 1,
    });
    expect(y[0]! / (1e6 * Math.fround(0.1))).toBeCloseTo(1, 7);
  });

  test('NaN wins in max and argmax, the first of equals in argmax', () => {
    const x = Float32Array.of(1, Number.NaN, 3, Number.NaN, 0);
    const [y, index] = [new Float32Array(1), new Int32Array(1)];
    kernels.reduce({ x, y, op: native.reductions.max, outer: 1, extent: 5, inner: 1 });
    kernels.argmax({ x, index, outer: 1, extent: 5, inner: 1 });
    expect([y[0], index[0]]).toEqual([Number.NaN, 1]);
    kernels.argmax({ x: Float32Array.of(1, 3, 3, 2, 3), index, outer: 1, extent: 5, inner: 1 });
    expect(index[0]).toBe(1);
  });

  test('the sum of nothing is 0', () => {
    const y = new Float32Array(3).fill(1);
    kernels.reduce({ x: new Float32Array(0), y, op: native.reductions.sum, outer: 1, extent: 0, inner: 3 });
    expect(Array.from(y)).toEqual([0, 0, 0]);
  });

  test('bit-identical on any number of threads', () => {
    const x = randomArray(300 * 1031, 9);
    expectSameOnAnyThreadCount(() => {
      const y = new Float32Array(1 + 1031);
      kernels.reduce({ x, y: y.subarray(0, 1), op: native.reductions.sum, outer: 1, extent: x.length, inner: 1 });
      kernels.reduce({ x, y: y.subarray(1), op: native.reductions.sum, outer: 1, extent: 300, inner: 1031 });
      return y;
    });
  });
});
