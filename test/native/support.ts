/** What the kernel tests share: every instruction set, seeded inputs, comparison with float64 references. */
import { native } from '../../lib/native';

/** Whether this is npm run test:sanitize or test:threads, under which memory and threads are not the system's own. */
export const SANITIZED = /lib[at]san/.test(process.env.LD_PRELOAD ?? '');

/** Runs `body` as a describe block for every instruction set of this machine, and with the best one again afterwards. */
export function onEveryIsa(body: () => void): void {
  const isas = native.isas().split(',');
  describe.each(isas)('%s', (isa) => {
    beforeAll(() => native.setIsa(isa));
    afterAll(() => native.setIsa(isas[0]!));
    body();
  });
}

/** Numbers in (-scale, scale), a function of the seed (mulberry32). */
export function randomArray(size: number, seed: number, scale = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length: size }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) / 2 ** 31) * scale;
  });
}

/** Whole numbers from 0 to bound - 1. */
export const randomIds = (size: number, seed: number, bound: number): Int32Array =>
  Int32Array.from(randomArray(size, seed, 1), (value) => Math.floor(((value + 1) / 2) * bound) % bound);

/** Fails unless every |actual - expected| <= tolerance · (1 + |expected|); NaN must meet NaN. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (Object.is(a, e) || a === e) continue;
    if (!(Math.abs(a - e) <= tolerance * (1 + Math.abs(e)))) throw new Error(`element ${i}: ${a}, expected ${e}`);
  }
}

/**
 * Holds analytic gradients to central differences of a float64 function: `gradient[i]` against the change of `loss` when
 * element i of `at` moves. `at` must be float64, or the differences drown in rounding.
 */
export function expectGradient(
  loss: () => number,
  at: Float64Array,
  gradient: ArrayLike<number>,
  tolerance: number,
  step = 1e-5,
): void {
  const numeric = Float64Array.from(at, (value, i) => {
    at[i] = value + step;
    const above = loss();
    at[i] = value - step;
    const below = loss();
    at[i] = value;
    return (above - below) / (2 * step);
  });
  expectClose(gradient, numeric, tolerance);
}

/** Runs `body` with one thread and with several; both must leave the same bits in what it returns. */
export function expectSameOnAnyThreadCount(body: () => ArrayLike<number>): void {
  const threads = native.numThreads();
  const results = [1, 4].map((count) => {
    native.setNumThreads(count);
    return Array.from(body());
  });
  native.setNumThreads(threads);
  expect(results[1]).toEqual(results[0]);
}
