import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { expectClose, expectSameOnAnyThreadCount, onEveryIsa, randomArray } from './support';

/** batch, m, n, k: below, at and above the tiles and the blocks of the driver, one row to many. */
const SHAPES: [number, number, number, number][] = [
  [1, 1, 1, 1],
  [2, 3, 7, 13],
  [1, 8, 48, 16],
  [2, 9, 49, 31],
  [1, 12, 1000, 70],
  [2, 33, 50, 21],
  [1, 17, 97, 800],
  [3, 64, 64, 64],
  [1, 300, 65, 1],
  [1, 261, 33, 1600],
];

function product(
  a: Float32Array,
  b: Float32Array,
  m: number,
  n: number,
  k: number,
  ta: boolean,
  tb: boolean,
): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += a[ta ? l * m + i : i * k + l]! * b[tb ? j * k + l : l * n + j]!;
      c[i * n + j] = sum;
    }
  return c;
}

onEveryIsa(() => {
  describe.each(SHAPES)('matmul batch %i, [%i, %i, %i]', (batch, m, n, k) => {
    const a = randomArray(batch * m * k, 1);
    const b = randomArray(batch * k * n, 2);

    test.each([
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ])('transposed: %p, %p', (ta, tb) => {
      const c = randomArray(batch * m * n, 3);
      const before = c.slice();
      const run = (accumulate: number): Float32Array => {
        kernels.matmul({
          a,
          b,
          c,
          batch,
          m,
          n,
          k,
          transpose_a: Number(ta),
          transpose_b: Number(tb),
          strides: Int32Array.of(m * k, k * n),
          accumulate,
        });
        return c;
      };
      const expected = Array.from({ length: batch }, (_, i) => [
        ...product(a.subarray(i * m * k), b.subarray(i * k * n), m, n, k, ta, tb),
      ]).flat();
      run(1);
      expectClose(
        c,
        expected.map((value, i) => value + before[i]!),
        5e-5,
      );
      expectClose(run(0), expected, 5e-5);
    });
  });

  test('an output so large that it is written past the caches', () => {
    const [m, n, k] = [1400, 1536, 2];
    const [a, b, c] = [randomArray(m * k, 1), randomArray(k * n, 2), new Float32Array(m * n)];
    kernels.matmul({
      a,
      b,
      c,
      batch: 1,
      m,
      n,
      k,
      transpose_a: 0,
      transpose_b: 0,
      strides: Int32Array.of(0, 0),
      accumulate: 0,
    });
    expectClose(c, product(a, b, m, n, k, false, false), 5e-5);
  });

  // L blocks of [s, r] on n rows: the output is interleaved, from registers when L is 2, 4 or 8.
  test.each([
    [2, 384, 4, 2800],
    [3, 256, 4, 2800],
    [4, 17, 20, 5],
    [8, 6, 8, 300],
  ])('block shuffle with %i blocks of [%i, %i] on %i rows', (L, s, r, n) => {
    const width = L * r;
    const [x, v, u] = [randomArray(n * width, 4), randomArray(L * r * r, 5), randomArray(L * s * r, 6)];
    const y = new Float32Array(n * L * s);
    kernels.linear_forward({
      x,
      v,
      u,
      guide: null,
      bias: null,
      residual: null,
      h: null,
      pre: null,
      y,
      n,
      dims: Int32Array.of(L, r, r, L, s, r, 0),
      factor_scale: 1,
      guide_scale: 0,
      activation: native.activations.none,
    });
    const expected = new Float64Array(y.length);
    for (let t = 0; t < n; t++) {
      const h = Array.from({ length: width }, (_, c) => {
        let sum = 0;
        for (let j = 0; j < r; j++) sum += v[c * r + j]! * x[t * width + Math.floor(c / r) * r + j]!;
        return sum;
      });
      for (let f = 0; f < L * s; f++) {
        const [i, l] = [Math.floor(f / L), f % L];
        let sum = 0;
        for (let j = 0; j < r; j++) sum += u[(l * s + i) * r + j]! * h[j * L + l]!;
        expected[t * L * s + f] = sum;
      }
    }
    expectClose(y, expected, 5e-5);
  });
});

test('the number of threads does not change a bit', () => {
  const [m, n, k] = [333, 401, 1100];
  const [a, b] = [randomArray(m * k, 7), randomArray(n * k, 8)];
  expectSameOnAnyThreadCount(() => {
    const c = new Float32Array(m * n);
    kernels.matmul({
      a,
      b,
      c,
      batch: 1,
      m,
      n,
      k,
      transpose_a: 0,
      transpose_b: 1,
      strides: Int32Array.of(0, 0),
      accumulate: 0,
    });
    return c;
  });
});
