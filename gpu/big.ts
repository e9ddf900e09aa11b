/**
 * Stage b: sizes that the PTX executor never runs, forward and backward, compared with the CPU in float32 on the same
 * rounded inputs; repeated runs must give the same bits; more than 2^31 results. Device 'cpu' is compared with its own
 * simplest instruction set.
 */
import {
  availableIsas,
  blockDenseLinear,
  blockShuffleLinear,
  causalAttention,
  type Device,
  type DType,
  feedForward,
  layerNorm,
  linear,
  lowRankLinear,
  noGrad,
  type Shape,
  setCudaTf32,
  setIsa,
  type Tensor,
  tensor,
  tidy,
} from '../lib';
import { Generator } from '../lib/random';
import { Script } from './support/options';

const script = new Script();
const { device, size } = script;
const full = size === 'full';
const pick = <T>(ofFull: T, ofSmall: T, ofTiny: T): T => (full ? ofFull : size === 'small' ? ofSmall : ofTiny);

const REPEATS = pick(10, 2, 1);

interface Kind {
  readonly name: 'bfloat16' | 'float32' | 'TF32';
  readonly dtype: DType;
  readonly tf32: boolean;
  /**
   * The largest error of a result's norm. A single element may be off by 60 times as much, in units of the root mean
   * square.
   */
  readonly limit: number;
}

const BF16: Kind = { name: 'bfloat16', dtype: 'bfloat16', tf32: false, limit: 1e-2 };
const F32: Kind = { name: 'float32', dtype: 'float32', tf32: false, limit: 2e-5 };
const TF32: Kind = { name: 'TF32', dtype: 'float32', tf32: true, limit: 2e-3 };
/** The CPU does not compute in bfloat16 and knows no TF32. */
const PRODUCTS = device === 'cuda' ? [BF16, F32, TF32] : [F32];
/** Exponentials and differences lose more precision. */
const OTHERS = PRODUCTS.filter(({ tf32 }) => !tf32).map((kind) => ({
  ...kind,
  limit: kind.dtype === 'bfloat16' ? 2e-2 : 1e-4,
}));
const WORST = 60;

interface Difference {
  readonly relative: number;
  readonly worst: number;
  readonly at: number;
}

/** `worst` is the largest difference of an element in units of the root mean square of the expected values. */
function difference(actual: Float32Array, expected: Float32Array): Difference {
  let [squares, norm, worst, at] = [0, 0, 0, -1];
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    squares += error * error;
    norm += expected[i]! * expected[i]!;
    // Also true if the error is NaN.
    if (!(error <= worst)) [worst, at] = [error, i];
  }
  return { relative: Math.sqrt(squares / norm), worst: worst / Math.sqrt(norm / expected.length), at };
}

function report(name: string, passed: boolean, detail?: string): void {
  script.emit({ kind: 'check', suite: 'large sizes', name, passed, detail });
  if (!passed) process.exitCode = 1;
}

function compare(name: string, actual: Float32Array, expected: Float32Array, limit: number): void {
  const { relative, worst, at } = difference(actual, expected);
  const detail = `relative ${relative.toExponential(1)}, worst element ${worst.toExponential(1)} of rms at ${at}`;
  report(name, relative < limit && worst < WORST * limit, detail);
}

const float32 = (t: Tensor): Float32Array => Float32Array.from(t.toArray());

const draws = new Map<string, Float32Array>();

/** Values that `dtype` holds, drawn once for all runs of a check. */
function drawn(seed: number, shape: Shape, std: number, dtype: DType): Float32Array {
  const key = `${seed} ${shape} ${std} ${dtype}`;
  const values = draws.get(key) ?? tidy(() => float32(new Generator(seed).normal(shape, 0, std).as(dtype)));
  draws.set(key, values);
  return values;
}

type Leaf = readonly [shape: Shape, std: number];
type Op = (...inputs: Tensor[]) => Tensor;

/** The result and the gradients of all leaves. */
function compute(op: Op, leaves: readonly Leaf[], rounded: DType, on: Device, dtype: DType): Float32Array[] {
  return tidy(() => {
    const inputs = leaves.map(([shape, std], i) =>
      tensor(drawn(i, shape, std, rounded), shape, { device: on, dtype, requiresGrad: true }),
    );
    const y = op(...inputs);
    y.backward(tensor(drawn(leaves.length, y.shape, 1, rounded), y.shape, { device: on, dtype }));
    return [y, ...inputs.map(({ grad }) => grad!)].map((t) => {
      const values = float32(t);
      if (t !== y) t.dispose();
      return values;
    });
  });
}

const isas = availableIsas();

function reference(op: Op, leaves: readonly Leaf[], rounded: DType): Float32Array[] {
  if (device === 'cpu') setIsa(isas.at(-1)!);
  const results = compute(op, leaves, rounded, 'cpu', 'float32');
  setIsa(isas[0]!);
  return results;
}

function check(name: string, leaves: readonly Leaf[], op: Op, kinds: readonly Kind[] = PRODUCTS): void {
  draws.clear();
  const expected = new Map<DType, Float32Array[]>();
  for (const { name: kind, dtype, tf32, limit } of kinds) {
    const want = expected.get(dtype) ?? reference(op, leaves, dtype);
    expected.set(dtype, want);
    if (device === 'cuda') setCudaTf32(tf32);
    const run = () => compute(op, leaves, dtype, device, dtype);
    const got = run();
    for (const [i, values] of want.entries())
      compare(`${name}, ${kind}, ${i === 0 ? 'result' : `gradient ${i - 1}`}`, got[i]!, values, limit);
    const repeats = Array.from({ length: REPEATS }, () =>
      run().every((again, i) => Buffer.compare(Buffer.from(again.buffer), Buffer.from(got[i]!.buffer)) === 0),
    );
    report(`${name}, ${kind}, the same bits ${REPEATS} times`, repeats.every(Boolean));
  }
}

const D = pick(1024, 128, 64);
// Whole tiles and a partial one.
const T = pick(2048 + 40, 256 + 40, 24);
const [F, R, B] = [4 * D, D / 4, 4];
const x: Leaf = [[T, D], 1];
const weight = (...shape: number[]): Leaf => [shape, 1 / Math.sqrt(shape.at(-1)!)];
const vector = (length: number): Leaf => [[length], 1];
const shuffled = (blocks: number): Leaf[] => [
  weight(blocks, D / blocks, D / blocks),
  weight(blocks, F / blocks, D / blocks),
];

const blockShuffle = (blocks: number) => () =>
  check(`blockshuffle of ${blocks}`, [x, ...shuffled(blocks)], (x, v, u) => blockShuffleLinear(x!, v!, u!));

const attention = (batch: number, seq: number, heads: number, headSize: number) => () =>
  check(
    `attention, heads of ${headSize}`,
    [[[batch, seq, 3 * heads * headSize], 1]],
    (qkv) => causalAttention(qkv!, { heads }),
    OTHERS,
  );

/** 70,000 x 32,000 results; the sum of each row is known without computing them. */
function manyResults(): void {
  const [n, k, m] = [70_000, 64, 32_000];
  const scale = 1 / 1024;
  tidy(() => {
    const [xs, ws] = [drawn(0, [n, k], 1, 'bfloat16'), drawn(1, [m, k], 0.125, 'bfloat16')];
    const on = (values: Float32Array, shape: Shape) => tensor(values, shape, { device, dtype: 'bfloat16' });
    const got = noGrad(() =>
      linear(linear(on(xs, [n, k]), on(ws, [m, k])), on(new Float32Array(m).fill(scale), [1, m])).toArray(),
    );
    const sums = new Float64Array(k);
    for (let i = 0; i < m; i++) for (let j = 0; j < k; j++) sums[j]! += ws[i * k + j]!;
    const want = Float32Array.from({ length: n }, (_, i) => {
      let sum = 0;
      for (let j = 0; j < k; j++) sum += xs[i * k + j]! * sums[j]!;
      return scale * sum;
    });
    // The summands are rounded to bfloat16 before they cancel each other.
    compare('2.24e9 results, sums of rows', Float32Array.from(got), want, 0.1);
  });
}

const CASES: Readonly<Record<string, () => void>> = {
  dense: () => check('dense', [x, weight(F, D), vector(F)], (x, w, b) => linear(x!, w!, b!, { activation: 'gelu' })),
  long: () => check(`dense of ${F} terms`, [[[T % 200, F], 1], weight(D, F)], (x, w) => linear(x!, w!)),
  lowrank: () => check('lowrank', [x, weight(R, D), weight(F, R)], (x, v, u) => lowRankLinear(x!, v!, u!)),
  'lowrank-wide': () =>
    check(`lowrank of rank ${D / 2}`, [x, weight(D / 2, D), weight(F, D / 2)], (x, v, u) => lowRankLinear(x!, v!, u!)),
  blockdense: () =>
    check('blockdense', [x, weight(B, R / B, D / B), weight(F, R)], (x, v, u) => blockDenseLinear(x!, v!, u!)),
  blockshuffle: blockShuffle(4),
  'blockshuffle-2': blockShuffle(2),
  'blockshuffle-8': blockShuffle(8),
  network: () =>
    check(
      'network of blockshuffle, gelu',
      [x, ...shuffled(B), weight(B, D / B, F / B), weight(B, D / B, D / B)],
      (x, v1, u1, v2, u2) => feedForward(x!, { v: v1!, u: u1! }, { v: v2!, u: u2! }, 'gelu'),
    ),
  'network-swiglu': () =>
    check(
      'network of lowrank, swiglu',
      [x, weight(R, D), weight(2 * F, R), weight(R, F), weight(D, R)],
      (x, v1, u1, v2, u2) => feedForward(x!, { v: v1!, u: u1! }, { v: v2!, u: u2! }, 'swiglu'),
    ),
  'attention-64': attention(2, pick(1000, 100, 20), 4, 64),
  'attention-128': attention(1, pick(1024, 100, 20), 2, 128),
  norm: () => check('layer norm', [x, vector(D), vector(D)], (x, w, b) => layerNorm(x!, w!, b!), OTHERS),
  // Only a GPU has the memory and the time.
  ...(full && device === 'cuda' ? { int64: manyResults } : {}),
};

script.checkParts(Object.keys(CASES));
for (const [name, run] of Object.entries(CASES)) {
  if (!script.wants(name)) continue;
  const begin = performance.now();
  try {
    run();
  } catch (error) {
    report(name, false, error instanceof Error ? error.message : String(error));
  }
  console.log(`${name} took ${((performance.now() - begin) / 1e3).toFixed(1)} s`);
}
