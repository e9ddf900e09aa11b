/**
 * Which kernels serve some products on the CUDA device, for choices.test.ts: `served.ts CASE...` compares each with the CPU and
 * prints a JSON object of its launches by kernel. In processes of their own, because the environment is read once.
 */
import { type DType, linear, lowRankLinear, structuredLinear, type Tensor, tensor, tidy } from '../../lib';
import { native } from '../../lib/native';
import { TestRandom } from '../support/random';

interface Case {
  readonly shapes: readonly (readonly number[])[];
  readonly run: (...inputs: Tensor[]) => Tensor;
  readonly dtype?: DType;
  readonly gradients?: boolean;
}

const dense = (m: number, n: number, k: number, options: Partial<Case> = {}): Case => ({
  shapes: [
    [m, k],
    [n, k],
  ],
  run: (x, w) => linear(x!, w!),
  ...options,
});
const lowRank = (m: number, n: number, k: number, rank: number): Case => ({
  shapes: [
    [m, k],
    [rank, k],
    [n, rank],
  ],
  run: (x, v, u) => lowRankLinear(x!, v!, u!),
});

const CASES: Readonly<Record<string, Case>> = {
  large: dense(136, 136, 64),
  gradients: dense(136, 136, 72, { gradients: true }),
  unaligned: dense(130, 133, 71),
  small: dense(40, 48, 64),
  rows: dense(4, 48, 64),
  parts: dense(40, 48, 1040),
  float32: dense(70, 72, 64, { dtype: 'float32' }),
  factors: lowRank(130, 120, 72, 104),
  few: lowRank(40, 48, 64, 32),
  blocks: {
    shapes: [
      [520, 64],
      [4, 16, 16],
      [4, 64, 16],
    ],
    run: (x, v, u) => structuredLinear(x!, { v, u: u! }),
  },
};

function compute({ shapes, run, gradients }: Case, device: 'cpu' | 'cuda', dtype: DType, rounded: DType): number[][] {
  const random = new TestRandom(5);
  return tidy(() => {
    const inputs = shapes.map((shape) => {
      const values = random.array(shape.reduce((a, b) => a * b, 1));
      const stored = tensor(values, shape, { dtype: rounded }).toArray();
      return tensor(stored, shape, { device, dtype, requiresGrad: gradients ?? false });
    });
    const y = run(...inputs);
    if (!gradients) return [[...y.toArray()]];
    y.backward(y);
    const found = inputs.map((input) => {
      const values = [...input.grad!.toArray()];
      input.grad!.dispose();
      return values;
    });
    return [[...y.toArray()], ...found];
  });
}

/** The largest difference of an element, relative to the largest element. */
function difference(actual: readonly number[], expected: readonly number[]): number {
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!) / largest), 0);
}

const served: Record<string, Record<string, number>> = {};
for (const name of process.argv.slice(2)) {
  const test = CASES[name]!;
  const dtype = test.dtype ?? 'bfloat16';
  const expected = compute(test, 'cpu', 'float32', dtype);
  const before = native.kernelLaunches();
  compute(test, 'cuda', dtype, dtype).forEach((values, i) => {
    const error = difference(values, expected[i]!);
    if (!(error < 2e-2)) throw new Error(`${name}: value ${i} differs by ${error}`);
  });
  const launches = Object.entries(native.kernelLaunches()).map(([kernel, count]) => [
    kernel,
    count - (before[kernel] ?? 0),
  ]);
  served[name] = Object.fromEntries(launches.filter(([, count]) => count !== 0));
}
console.log(JSON.stringify(served));
