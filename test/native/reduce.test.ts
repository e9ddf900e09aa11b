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

const OPS: [string, number, (values: number[]) => number][] = [
  ['sum', 0, (values) => values.reduce((a, b) => a + b, 0)],
  ['mean', 1, (values) => values.reduce((a, b) => a + b, 0) / values.length],
  ['max', 2, (values) => values.reduce((a, b) => Math.max(a, b))],
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

    test.each(OPS)('%s', (_, op, f) => {
      const y = new Float32Array(outer * inner);
      native.reduce(x, y, op, outer, extent, inner);
      expectClose(y, columns(x, outer, extent, inner).map(f), 2e-7);
    });

    test('argmax', () => {
      const index = new Int32Array(outer * inner);
      native.argmax(x, index, outer, extent, inner);
      const expected = columns(x, outer, extent, inner).map((values) =>
        values.indexOf(Math.max(...values.slice(0, 1e5), values.at(-1)!)),
      );
      if (extent < 1e5) expect(Array.from(index)).toEqual(expected);
      else expect(x[index[0]!]).toBe(x.reduce((a, b) => Math.max(a, b)));
    });
  });

  test('a million equal numbers lose nothing', () => {
    const y = new Float32Array(1);
    native.reduce(new Float32Array(1e6).fill(0.1), y, 0, 1, 1e6, 1);
    expect(y[0]! / (1e6 * Math.fround(0.1))).toBeCloseTo(1, 7);
  });

  test('NaN wins in max and argmax, the first of equals in argmax', () => {
    const x = Float32Array.of(1, Number.NaN, 3, Number.NaN, 0);
    const [y, index] = [new Float32Array(1), new Int32Array(1)];
    native.reduce(x, y, 2, 1, 5, 1);
    native.argmax(x, index, 1, 5, 1);
    expect([y[0], index[0]]).toEqual([Number.NaN, 1]);
    native.argmax(Float32Array.of(1, 3, 3, 2, 3), index, 1, 5, 1);
    expect(index[0]).toBe(1);
  });

  test('the sum of nothing is 0', () => {
    const y = new Float32Array(3).fill(1);
    native.reduce(new Float32Array(0), y, 0, 1, 0, 3);
    expect(Array.from(y)).toEqual([0, 0, 0]);
  });

  test('bit-identical on any number of threads', () => {
    const x = randomArray(300 * 1031, 9);
    expectSameOnAnyThreadCount(() => {
      const y = new Float32Array(1 + 1031);
      native.reduce(x, y.subarray(0, 1), 0, 1, x.length, 1);
      native.reduce(x, y.subarray(1), 0, 1, 300, 1031);
      return y;
    });
  });
});
