import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { expectClose, expectSameOnAnyThreadCount, randomArray } from './support';

function svd(a: Float32Array, m: number, n: number, rank: number, batch = 1) {
  const u = new Float32Array(batch * m * rank);
  const s = new Float32Array(batch * rank);
  const vt = new Float32Array(batch * rank * n);
  kernels.svd({ a, u, s, vt, batch, m, n, rank });
  return { u, s, vt };
}

/** a [m, k] · b [k, n] in float64. */
function product(a: ArrayLike<number>, b: ArrayLike<number>, m: number, k: number, n: number): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let l = 0; l < k; l++) for (let j = 0; j < n; j++) c[i * n + j]! += a[i * k + l]! * b[l * n + j]!;
  return c;
}

const transpose = (a: ArrayLike<number>, m: number, n: number): Float64Array =>
  Float64Array.from({ length: m * n }, (_, at) => a[(at % m) * n + Math.floor(at / m)]!);
const norm = (a: ArrayLike<number>): number => Math.sqrt(Array.from(a).reduce((total, value) => total + value ** 2, 0));

/** Largest |aᵀa − 1| of the columns of a [m, n]. */
function columnError(a: ArrayLike<number>, m: number, n: number): number {
  const gram = product(transpose(a, m, n), a, n, m, n);
  return gram.reduce((worst, value, at) => Math.max(worst, Math.abs(value - Number(at % n === Math.floor(at / n)))), 0);
}

function expectDecomposition(a: Float32Array, m: number, n: number): Float32Array {
  const rank = Math.min(m, n);
  const { u, s, vt } = svd(a, m, n, rank);
  expect(columnError(u, m, rank)).toBeLessThan(1e-6);
  expect(columnError(transpose(vt, rank, n), n, rank)).toBeLessThan(1e-6);
  const scaled = u.map((value, at) => value * s[at % rank]!);
  const rebuilt = product(scaled, vt, m, rank, n);
  expect(norm(rebuilt.map((value, i) => value - a[i]!))).toBeLessThanOrEqual(1e-6 * norm(a));
  for (let r = 1; r < rank; r++) expect(s[r]).toBeLessThanOrEqual(s[r - 1]!);
  return s;
}

/** A matrix with the given singular values: they scale the orthonormal factors of a random one. */
function withSingularValues(values: number[], m: number, n: number, seed: number): Float32Array {
  const k = values.length;
  const { u, vt } = svd(randomArray(m * n, seed), m, n, k);
  return Float32Array.from(
    product(
      u.map((value, at) => value * values[at % k]!),
      vt,
      m,
      k,
      n,
    ),
  );
}

describe('svd', () => {
  test.each([
    [1, 1],
    [1, 7],
    [7, 1],
    [2, 2],
    [5, 3],
    [3, 5],
    [17, 17],
    [67, 31],
    [40, 129],
    [130, 130],
  ])('of a random [%i, %i]', (m, n) => {
    expectDecomposition(randomArray(m * n, m * n), m, n);
  });

  test.each([
    ['20 of 256', 256, 256, 20],
    ['3 of 300, tall', 300, 200, 3],
    ['1 of 200, wide', 100, 200, 1],
    ['half', 150, 150, 75],
  ])('of a matrix whose rank is smaller than its sizes: %s', (_, m, n, rank) => {
    const wave = (i: number, j: number) => {
      let sum = 0;
      for (let c = 1; c <= rank; c++) sum += Math.sin(1.3 * i * c + c) * Math.cos(0.7 * j * c + 2 * c);
      return sum;
    };
    const a = Float32Array.from({ length: m * n }, (__, at) => wave(Math.floor(at / n), at % n));
    for (const scale of [1, 1e-20, 1e20]) {
      const s = expectDecomposition(
        a.map((value) => scale * value),
        m,
        n,
      );
      expect(s[rank]! / s[0]!).toBeLessThan(1e-6);
    }
  });

  test('of a matrix with many equal rows, and of one with blocks of zeros', () => {
    const row = randomArray(90, 3);
    expectDecomposition(
      Float32Array.from({ length: 90 * 90 }, (_, at) => (at < 450 ? at % 7 : row[at % 90]!)),
      90,
      90,
    );
    const full = randomArray(90 * 90, 4);
    expectDecomposition(
      full.map((value, at) => (Math.floor(at / 900) === Math.floor((at % 90) / 10) ? value : 0)),
      90,
      90,
    );
  });

  test.each([
    ['equal values', Array(12).fill(2.5)],
    ['two clusters', [...Array(6).fill(7), ...Array(6).fill(1e-3)]],
    ['a wide range', Array.from({ length: 12 }, (_, i) => 10 ** (-i / 2))],
    ['low rank', [3, 2, 1, 0, 0, 0]],
  ])('finds known singular values: %s', (_, values) => {
    const s = expectDecomposition(withSingularValues(values, 40, 23, 5), 40, 23);
    expectClose(s.slice(0, values.length), values, 1e-6 * values[0]!);
    for (const value of s.slice(values.length)) expect(value).toBeLessThan(1e-6 * values[0]!);
  });

  test('of an ill-conditioned matrix (Hilbert)', () => {
    const n = 40;
    expectDecomposition(
      Float32Array.from({ length: n * n }, (_, at) => 1 / (Math.floor(at / n) + (at % n) + 1)),
      n,
      n,
    );
  });

  test.each([
    [6, 6],
    [9, 4],
    [4, 9],
  ])('of zeros, [%i, %i]', (m, n) => {
    expect(Array.from(expectDecomposition(new Float32Array(m * n), m, n))).toEqual(Array(Math.min(m, n)).fill(0));
  });

  test('of tiny and of huge values', () => {
    for (const scale of [1e-30, 1e36]) expectDecomposition(randomArray(20 * 13, 4, scale), 20, 13);
  });

  test('truncated, it is the best approximation: the error is the norm of what was left out', () => {
    const [m, n, rank] = [50, 34, 10];
    const a = randomArray(m * n, 8);
    const all = svd(a, m, n, n).s;
    const { u, s, vt } = svd(a, m, n, rank);
    expectClose(s, all.slice(0, rank), 1e-6);
    const rebuilt = product(
      u.map((value, at) => value * s[at % rank]!),
      vt,
      m,
      rank,
      n,
    );
    const error = norm(rebuilt.map((value, i) => value - a[i]!));
    expect(error / norm(all.slice(rank))).toBeCloseTo(1, 5);
  });

  test('of a batch is that of each matrix', () => {
    const [m, n, rank] = [11, 6, 4];
    const a = randomArray(3 * m * n, 2);
    const { u, s, vt } = svd(a, m, n, rank, 3);
    for (let b = 0; b < 3; b++) {
      const one = svd(a.slice(b * m * n, (b + 1) * m * n), m, n, rank);
      expect(u.slice(b * m * rank, (b + 1) * m * rank)).toEqual(one.u);
      expect(s.slice(b * rank, (b + 1) * rank)).toEqual(one.s);
      expect(vt.slice(b * rank * n, (b + 1) * rank * n)).toEqual(one.vt);
    }
  });

  test('is the same on every instruction set and number of threads', () => {
    const a = randomArray(150 * 90, 7);
    const results = native
      .isas()
      .split(',')
      .map((isa) => {
        native.setIsa(isa);
        return svd(a, 150, 90, 90);
      });
    native.setIsa(native.isas().split(',')[0]!);
    for (const result of results) expect(result).toEqual(results[0]);
    expectSameOnAnyThreadCount(() => svd(a, 150, 90, 90).u);
  });
});

describe('polar', () => {
  test.each([
    [1, 1, 1],
    [3, 5, 5],
    [2, 31, 17],
    [2, 17, 31],
    [1, 96, 96],
  ])('of %i random [%i, %i]: orthonormal, and a times its transpose is symmetric and positive', (batch, m, n) => {
    const a = randomArray(batch * m * n, 3);
    const y = new Float32Array(a.length);
    kernels.polar({ a, y, batch, m, n });
    for (let b = 0; b < batch; b++) {
      const [one, of] = [y.slice(b * m * n, (b + 1) * m * n), a.slice(b * m * n, (b + 1) * m * n)];
      const [rows, columns, q, x] =
        m >= n ? [m, n, Float64Array.from(one), of] : [n, m, transpose(one, m, n), transpose(of, m, n)];
      expect(columnError(q, rows, columns)).toBeLessThan(1e-6);
      const h = product(transpose(q, rows, columns), x, columns, rows, columns); // x = q·h
      expectClose(h, transpose(h, columns, columns), 1e-5);
      for (let i = 0; i < columns; i++) expect(h[i * columns + i]).toBeGreaterThan(0);
    }
  });

  test('of an orthogonal matrix is that matrix', () => {
    const { u } = svd(randomArray(400, 1), 20, 20, 20);
    const y = new Float32Array(400);
    kernels.polar({ a: u, y, batch: 1, m: 20, n: 20 });
    expectClose(y, u, 1e-6);
  });

  test.each([
    [8, 5],
    [5, 8],
    [6, 6],
  ])('of a singular [%i, %i] is completed to an orthonormal one', (m, n) => {
    for (const values of [[], [4], [4, 0.5]]) {
      const a = values.length === 0 ? new Float32Array(m * n) : withSingularValues(values, m, n, 6);
      const y = new Float32Array(m * n);
      kernels.polar({ a, y, batch: 1, m, n });
      const error = m >= n ? columnError(y, m, n) : columnError(transpose(y, m, n), n, m);
      expect(error).toBeLessThan(1e-6);
    }
  });
});

test.each([Number.NaN, Number.POSITIVE_INFINITY])('%p is refused', (value) => {
  const a = new Float32Array(4).fill(value);
  const four = new Float32Array(4);
  const refused = expect.objectContaining({ code: 'ERR_RANGE' });
  expect(() => kernels.svd({ a, u: four, s: new Float32Array(2), vt: four, batch: 1, m: 2, n: 2, rank: 2 })).toThrow(
    refused,
  );
  expect(() => kernels.polar({ a, y: four, batch: 1, m: 2, n: 2 })).toThrow(refused);
});
