import { kernels } from '../../lib/kernels';
import { expectClose, onEveryIsa, randomArray } from './support';

/** Size of the strided side, offset, dims, strides. No two elements share a place, but where a stride is 0. */
const LAYOUTS: [string, number, number, number[], number[]][] = [
  ['one element', 3, 2, [], []],
  ['contiguous', 105, 0, [3, 5, 7], [35, 7, 1]],
  ['a slice', 105, 8, [2, 3, 4], [35, 7, 1]],
  ['a transpose', 37 * 91, 0, [37, 91], [1, 37]],
  ['batched transposes', 3 * 41 * 33, 0, [3, 41, 33], [41 * 33, 1, 41]],
  ['heads before tokens', 2 * 5 * 3 * 8, 0, [2, 3, 5, 8], [120, 8, 24, 1]],
  ['reversed dimensions', 4 * 5 * 6, 0, [6, 5, 4], [1, 6, 30]],
  ['every second one', 40, 1, [4, 5], [10, 2]],
  ['backwards', 20, 19, [4, 5], [-5, -1]],
  ['many tasks', 300 * 257, 0, [257, 300], [1, 257]],
  ['rows repeated', 37, 0, [9, 37], [0, 1]],
  ['columns repeated', 9, 0, [9, 37], [1, 0]],
  ['both ends repeated', 15, 0, [4, 3, 2, 5, 6], [0, 5, 0, 1, 0]],
  ['all repeated', 1, 0, [40, 50], [0, 0]],
  ['nothing', 5, 0, [0, 5], [5, 1]],
];

function places(offset: number, dims: number[], strides: number[]): number[] {
  return dims.reduce(
    (at, size, d) => at.flatMap((p) => Array.from({ length: size }, (_, i) => p + i * strides[d]!)),
    [offset],
  );
}

onEveryIsa(() => {
  describe.each(LAYOUTS)('%s', (_, size, offset, dims, strides) => {
    const at = places(offset, dims, strides);
    const shape = { offset, dims: Int32Array.from(dims), strides: Int32Array.from(strides) };

    test('copy, of both types', () => {
      const x = randomArray(size, 1);
      const y = new Float32Array(at.length);
      kernels.strided_copy({ ...shape, x, y });
      expect(Array.from(y)).toEqual(at.map((p) => x[p]));
      const ids = Int32Array.from({ length: size }, (_, i) => i + 0x7f800001); // signalling NaNs, were they floats
      const copied = new Int32Array(at.length);
      kernels.strided_copy({ ...shape, x: ids, y: copied });
      expect(Array.from(copied)).toEqual(at.map((p) => ids[p]));
    });

    test('accumulate', () => {
      const [x, y] = [randomArray(size, 2), randomArray(at.length, 3)];
      const expected = Float64Array.from(x);
      at.forEach((p, i) => {
        expected[p]! += y[i]!;
      });
      kernels.strided_add({ ...shape, y, x });
      expectClose(x, expected, 1e-6);
    });

    if (!strides.includes(0))
      test('write leaves the rest alone', () => {
        const [x, y] = [randomArray(size, 4), randomArray(at.length, 5)];
        const expected = Float32Array.from(x);
        at.forEach((p, i) => {
          expected[p] = y[i]!;
        });
        kernels.strided_write({ ...shape, y, x });
        expect(x).toEqual(expected);
      });
  });

  test('the gradient of a broadcast scalar keeps float32 accuracy over a million elements', () => {
    const total = new Float32Array(1);
    kernels.strided_add({
      y: new Float32Array(1e6).fill(0.1),
      x: total,
      offset: 0,
      dims: Int32Array.of(1000, 1000),
      strides: Int32Array.of(0, 0),
    });
    expect(total[0]! / (1e6 * Math.fround(0.1))).toBeCloseTo(1, 7);
  });
});
