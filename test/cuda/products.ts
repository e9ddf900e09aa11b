/**
 * The linear layers, matmul and linearCrossEntropy on the CUDA device, forward and backward, at sizes that reach every kernel of the matrix product with its
 * tails, against the CPU: exits with 1 where an element differs. `npm run cuda:mutate` breaks the kernels and demands that
 * this notices, `npm run cuda:coverage` counts the lines of PTX that it executes. `--random=COUNT` runs that many random calls
 * of larger sizes instead, to see which lines can be executed at all. `--list` prints the checks, each of them once for a type,
 * and `--checks=3,17` runs those of the list at these indices from 0, in this order. `--type=bfloat16` leaves out the other types.
 * `--keep-going` goes on after a difference, and exits with 1 at the end.
 */
import {
  type DType,
  feedForward,
  linearCrossEntropy,
  matmul,
  setCudaTf32,
  structuredLinear,
  type Tensor,
  tensor,
  tidy,
} from '../../lib';
import { ACTIVATIONS, type Activation } from '../../lib/ops/activation';
import { TestRandom } from '../support/random';

interface Case {
  readonly x: readonly number[];
  readonly v?: readonly number[];
  readonly u: readonly number[];
  readonly bias?: boolean;
  readonly guide?: boolean;
  readonly activation?: Activation;
  readonly residual?: boolean;
}

const CASES: readonly Case[] = [
  { x: [1, 40], u: [24, 40], bias: true, activation: 'gelu' },
  { x: [1, 33], u: [9, 33] },
  { x: [3, 37], u: [13, 37], activation: 'silu' },
  { x: [4, 64], v: [16, 64], u: [32, 16] },
  { x: [7, 30], v: [5, 30], u: [11, 5], guide: true },
  { x: [6, 32], u: [40, 32], bias: true },
  { x: [16, 128], v: [4, 16, 32], u: [4, 48, 16], bias: true },
  { x: [15, 42], v: [3, 7, 14], u: [3, 5, 7] },
  { x: [70, 72], u: [88, 72], bias: true, activation: 'gelu' },
  { x: [131, 75], u: [77, 75], bias: true, activation: 'relu' },
  { x: [67, 65], u: [22, 65] },
  { x: [150, 64], v: [4, 32, 16], u: [4, 64, 32], bias: true, activation: 'gelu' },
  { x: [85, 60], v: [3, 25, 20], u: [5, 21, 15], bias: true, activation: 'silu' },
  { x: [33, 48], v: [2, 10, 24], u: [30, 20] },
  { x: [130, 136], v: [72, 136], u: [80, 72], guide: true, bias: true },
  { x: [129, 69], v: [66, 69], u: [71, 66], guide: true },
  { x: [600, 24], u: [16, 24] },
  { x: [20, 520], u: [9, 520], activation: 'gelu' },
  // What mutants survived without: several chunks of terms, several tiles in either direction, columns beyond a warp's.
  { x: [1, 1031], u: [9, 1031] },
  { x: [5, 1088], u: [21, 1088] },
  { x: [12, 64], u: [13, 64] },
  { x: [40, 200], u: [48, 200] },
  { x: [200, 48], u: [40, 48] },
  { x: [136, 200], u: [144, 200] },
  { x: [130, 71], u: [133, 71], bias: true, activation: 'gelu' },
  { x: [129, 70], u: [131, 70], bias: true, activation: 'silu' },
  { x: [136, 72], u: [200, 72], bias: true, activation: 'silu' },
  // More steps than stages, of one factor and of two, and several tiles in both directions.
  { x: [264, 456], u: [136, 456], bias: true, activation: 'gelu', residual: true },
  { x: [136, 264], v: [200, 264], u: [392, 200], guide: true, bias: true },
  // Both factors in one launch.
  { x: [130, 72], v: [104, 72], u: [120, 104], bias: true, activation: 'gelu' },
  { x: [130, 72], v: [104, 72], u: [120, 104], activation: 'silu' },
  // Columns of all blocks stored together, forward and backward.
  { x: [33, 16], v: [2, 8, 8], u: [2, 4288, 8], bias: true, activation: 'silu' },
  { x: [33, 8], v: [2, 4229, 4], u: [2, 5, 4229] },
  // The same of three and four blocks, in small tiles and large ones, aligned to 16 bytes and not.
  { x: [33, 32], v: [4, 8, 8], u: [4, 4296, 8], bias: true, activation: 'gelu' },
  { x: [33, 21], v: [3, 7, 7], u: [3, 4237, 7], bias: true, activation: 'gelu' },
  { x: [33, 32], v: [4, 4288, 8], u: [4, 8, 4288] },
  { x: [33, 15], v: [3, 4231, 5], u: [3, 5, 4231] },
  { x: [65, 24], v: [3, 8, 8], u: [3, 8584, 8], bias: true, activation: 'silu' },
  { x: [65, 21], v: [3, 7, 7], u: [3, 8579, 7], bias: true, activation: 'gelu' },
  { x: [65, 24], v: [3, 8576, 8], u: [3, 8, 8576] },
  { x: [65, 15], v: [3, 8581, 5], u: [3, 5, 8581] },
  // Exactly half a lane's pack of terms at the end of a chunk.
  { x: [12, 772], u: [9, 772] },
  { x: [7, 645], u: [9, 645], activation: 'gelu' },
  // Parts of a long sum that get a bias and an activation when they are added.
  { x: [20, 1100], u: [9, 1100], bias: true, activation: 'gelu' },
  { x: [20, 1601], u: [12, 1601], bias: true, activation: 'silu' },
  // Two sums make one result: of few rows, of split sums, of whole and of odd runs, of interleaved blocks one by one and
  // together, and with both factors in one launch.
  { x: [1, 40], u: [24, 40], bias: true, activation: 'swiglu' },
  { x: [4, 33], u: [22, 33], activation: 'swiglu', residual: true },
  { x: [13, 16], v: [2, 6, 8], u: [2, 10, 6], bias: true, activation: 'swiglu', residual: true },
  { x: [40, 72], u: [96, 72], bias: true, activation: 'swiglu' },
  { x: [37, 600], u: [38, 600], activation: 'swiglu', residual: true },
  { x: [40, 600], u: [48, 600], bias: true, activation: 'swiglu', residual: true },
  { x: [131, 75], u: [178, 75], bias: true, activation: 'swiglu' },
  { x: [136, 72], u: [208, 72], bias: true, activation: 'swiglu', residual: true },
  { x: [85, 60], v: [3, 25, 20], u: [5, 22, 15], bias: true, activation: 'swiglu' },
  { x: [70, 30], v: [2, 9, 15], u: [2, 33, 9], bias: true, activation: 'swiglu', residual: true },
  { x: [130, 24], v: [3, 16, 8], u: [3, 3072, 16], bias: true, activation: 'swiglu', residual: true },
  { x: [60, 10], v: [2, 7, 5], u: [2, 4260, 7], activation: 'swiglu' },
  { x: [130, 72], v: [104, 72], u: [160, 104], bias: true, activation: 'swiglu', residual: true },
  { x: [130, 72], v: [40, 72], u: [272, 40], activation: 'swiglu' },
  // Interleaved blocks together in large tiles, whole and not, of several steps, forward and in the gradient of the hidden.
  { x: [200, 48], v: [3, 48, 16], u: [3, 344, 48], bias: true, activation: 'gelu' },
  { x: [197, 51], v: [3, 37, 17], u: [3, 333, 37], bias: true, activation: 'silu' },
  { x: [140, 300], v: [2, 100, 150], u: [2, 300, 100] },
  { x: [256, 144], v: [2, 136, 72], u: [2, 256, 136], bias: true },
  { x: [256, 142], v: [2, 131, 71], u: [2, 256, 131], bias: true },
  { x: [140, 32], v: [2, 304, 16], u: [2, 88, 304] },
  { x: [256, 32], v: [2, 384, 16], u: [2, 136, 384], activation: 'gelu' },
  { x: [256, 34], v: [2, 384, 17], u: [2, 131, 384], activation: 'gelu' },
  { x: [256, 144], v: [2, 136, 72], u: [2, 384, 136], bias: true },
  { x: [1, 1064], u: [9, 1064] },
  { x: [40, 72], u: [46, 72], bias: true, activation: 'gelu', residual: true },
  // A residual beside each of the other ends.
  { x: [7, 40], u: [24, 40], bias: true, activation: 'gelu', residual: true },
  { x: [70, 72], u: [88, 72], bias: true, activation: 'gelu', residual: true },
  { x: [67, 65], u: [22, 65], residual: true },
  { x: [150, 64], v: [4, 32, 16], u: [4, 64, 32], bias: true, activation: 'silu', residual: true },
  { x: [130, 72], v: [104, 72], u: [120, 104], bias: true, activation: 'gelu', residual: true },
  { x: [66, 24], v: [3, 16, 8], u: [3, 3000, 16], activation: 'gelu', residual: true },
  { x: [20, 700], u: [36, 700], residual: true },
  // Both factors in one launch where the results of all blocks interleave: 2, 4 and 8 of them, whole tiles and not,
  // several steps of either factor, every epilogue.
  { x: [500, 32], v: [2, 72, 16], u: [2, 76, 72], bias: true, activation: 'gelu', residual: true },
  { x: [512, 160], v: [2, 136, 80], u: [2, 64, 136] },
  { x: [512, 192], v: [3, 128, 64], u: [2, 96, 192], bias: true, activation: 'swiglu' },
  { x: [470, 96], v: [4, 72, 24], u: [4, 46, 72], bias: true, activation: 'silu' },
  { x: [512, 288], v: [4, 96, 72], u: [4, 32, 96], residual: true },
  { x: [500, 64], v: [2, 128, 32], u: [4, 76, 64], bias: true, activation: 'swiglu', residual: true },
  { x: [512, 64], v: [8, 64, 8], u: [8, 18, 64], bias: true, activation: 'gelu' },
  { x: [460, 64], v: [2, 288, 32], u: [8, 37, 72], bias: true, residual: true },
  // Both factors in one launch, each of several steps and tiles: every stage is filled again while it may still be read.
  { x: [1000, 136], v: [104, 136], u: [200, 104], bias: true, activation: 'gelu' },
  { x: [1000, 136], v: [56, 136], u: [200, 56] },
  // The gradient of the bias from sums in several parts, aligned to 16 bytes and not, of small tiles and large ones.
  { x: [600, 24], u: [16, 24], bias: true },
  { x: [601, 23], u: [13, 23], bias: true },
  { x: [328, 136], u: [136, 136], bias: true },
  { x: [331, 135], u: [133, 135], bias: true },
];

type Factors = Pick<Case, 'v' | 'u'>;

interface Network extends Omit<Case, 'v' | 'u'> {
  readonly fc1: Factors;
  readonly fc2: Factors;
}

const NETWORKS: readonly Network[] = [
  { x: [7, 20], fc1: { u: [36, 20] }, fc2: { v: [5, 36], u: [11, 5] }, bias: true, activation: 'gelu' },
  { x: [70, 24], fc1: { v: [16, 24], u: [96, 16] }, fc2: { u: [40, 48] }, bias: true, activation: 'swiglu' },
  {
    x: [67, 21],
    fc1: { v: [3, 5, 7], u: [37, 15] },
    fc2: { v: [37, 37], u: [9, 37] },
    guide: true,
    activation: 'silu',
  },
  // Both factors in one launch, forward and backward, of one block and of several.
  { x: [130, 72], fc1: { v: [104, 72], u: [128, 104] }, fc2: { v: [72, 128], u: [80, 72] }, activation: 'gelu' },
  { x: [130, 72], fc1: { v: [40, 72], u: [240, 40] }, fc2: { v: [72, 120], u: [80, 72] }, activation: 'swiglu' },
  {
    x: [200, 64],
    fc1: { v: [8, 64, 8], u: [8, 128, 64] },
    fc2: { v: [8, 64, 128], u: [8, 8, 64] },
    bias: true,
    activation: 'gelu',
  },
  // The blocks of the hidden activation apart, for every structure of the second layer.
  {
    x: [40, 32],
    fc1: { v: [4, 16, 8], u: [4, 16, 16] },
    fc2: { v: [4, 8, 16], u: [4, 6, 8] },
    bias: true,
    guide: true,
    activation: 'gelu',
  },
  { x: [33, 12], fc1: { v: [3, 5, 4], u: [3, 10, 5] }, fc2: { v: [5, 30], u: [7, 5] }, bias: true, activation: 'silu' },
  {
    x: [70, 12],
    fc1: { v: [3, 6, 4], u: [3, 14, 6] },
    fc2: { u: [10, 21] },
    bias: true,
    guide: true,
    activation: 'swiglu',
  },
  { x: [90, 14], fc1: { v: [2, 3, 7], u: [2, 9, 3] }, fc2: { v: [3, 5, 6], u: [13, 15] }, bias: true },
  // The same of few rows: the bias of a block is a part of its own.
  {
    x: [4, 32],
    fc1: { v: [4, 16, 8], u: [4, 16, 16] },
    fc2: { v: [4, 4, 16], u: [4, 6, 4] },
    bias: true,
    activation: 'gelu',
  },
  {
    x: [4, 32],
    fc1: { v: [4, 16, 8], u: [4, 32, 16] },
    fc2: { v: [4, 4, 16], u: [4, 6, 4] },
    bias: true,
    activation: 'swiglu',
  },
  // Not apart: an odd number of gates, blocks that do not divide, weights larger than the activation.
  { x: [33, 12], fc1: { v: [2, 5, 6], u: [2, 7, 5] }, fc2: { u: [9, 7] }, activation: 'swiglu' },
  { x: [33, 12], fc1: { v: [2, 5, 6], u: [2, 9, 5] }, fc2: { v: [6, 5, 3], u: [9, 30] }, activation: 'silu' },
  { x: [2, 12], fc1: { v: [2, 5, 6], u: [2, 8, 5] }, fc2: { u: [9, 16] }, activation: 'gelu' },
];

// Not ReLU: rounding may put a sum on the other side of its kink, where the gradient differs.
const DRAWN_ACTIVATIONS = ACTIVATIONS.filter((activation) => activation !== 'relu');

/** Every size of tile with every epilogue, aligned to 16 bytes and not. */
function drawnCases(count: number, rows: readonly number[], width: number): Case[] {
  const random = new TestRandom(5);
  const pick = <T>(values: readonly T[]): T => values[random.int(0, values.length - 1)]!;
  return Array.from({ length: count }, (_, i) => {
    const unit = i % 2 === 0 ? 8 : 1;
    const size = (largest: number) => unit * random.int(1, Math.floor(largest / unit));
    const activation = DRAWN_ACTIVATIONS[Math.floor(i / 2) % DRAWN_ACTIVATIONS.length]!;
    const [blocks, inner, outer] = pick([[1, 1, 1] as const, [2, 2, 2] as const, [3, 3, 1] as const]);
    const residual = random.next() < 0.3;
    const shared = { bias: random.next() < 0.7, guide: random.next() < 0.4, activation, residual };
    const x = [pick(rows), blocks * size(90 / blocks)];
    const out = 2 * size(pick([width / 4, width / 2]));
    if (blocks === 1 && random.next() < 0.5) return { ...shared, guide: false, x, u: [out, x[1]!] };
    const part = size(pick([40, width]) / blocks);
    const v = blocks === 1 ? [part, x[1]!] : [blocks, part, x[1]! / blocks];
    const u = outer === 1 ? [out, inner * part] : [outer, out, part];
    return { ...shared, x, v, u };
  });
}

/** Networks of any two structures, aligned to 16 bytes and not, most of them large enough for both factors in one launch. */
function drawnNetworks(count: number, seed: number): Network[] {
  const random = new TestRandom(seed);
  const pick = <T>(values: readonly T[]): T => values[random.int(0, values.length - 1)]!;
  return Array.from({ length: count }, (_, i) => {
    const unit = i % 4 === 3 ? 1 : 8;
    const size = (largest: number) => unit * random.int(1, Math.max(1, Math.floor(largest / unit)));
    const activation = pick(['none' as const, ...DRAWN_ACTIVATIONS]);
    const factors = (blocks: number, inFeatures: number, outFeatures: number): Factors => {
      const part = blocks * size(160 / blocks);
      return blocks === 1
        ? { v: [part, inFeatures], u: [outFeatures, part] }
        : { v: [blocks, part, inFeatures / blocks], u: [blocks, outFeatures / blocks, part] };
    };
    const blocks = pick([1, 2, 3, 4]);
    const [inputs, hidden, out] = [blocks * size(160 / blocks), 2 * blocks * size(160 / blocks), size(150)];
    const outer = pick([1, blocks]);
    return {
      x: [pick([130, 193, 256, 70, 20]), inputs],
      fc1: factors(blocks, inputs, activation === 'swiglu' ? 2 * hidden : hidden),
      fc2: random.next() < 0.2 ? { u: [out, hidden] } : factors(outer, hidden, outer * out),
      bias: random.next() < 0.5,
      guide: random.next() < 0.2,
      activation,
    };
  });
}

/** Something to compute from tensors of these shapes. */
interface Check {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  readonly run: (...inputs: Tensor[]) => Tensor;
  /** Whether a sum that TF32 rounds to the other side of zero changes the gradient. */
  readonly kink?: boolean;
}

const featuresOf = (u: readonly number[]) => (u.length === 3 ? u[0]! * u[1]! : u[0]!);

function networkCheck(c: Network): Check {
  const hidden = featuresOf(c.fc1.u) / (c.activation === 'swiglu' ? 2 : 1);
  const shapes = [c.x];
  const layer = ({ v, u }: Factors, inFeatures: number) => {
    const out = featuresOf(u);
    const wanted = { u, v, bias: c.bias && [out], guide: c.guide && [out, inFeatures] };
    const begin = shapes.length;
    const names = Object.entries(wanted).flatMap(([name, shape]) => (shape ? [[name, shape] as const] : []));
    shapes.push(...names.map(([, shape]) => shape));
    return (inputs: readonly Tensor[]) => {
      const given: Record<string, Tensor> = Object.fromEntries(names.map(([name], i) => [name, inputs[begin + i]!]));
      const { u, v, bias, guide } = given;
      return { u: u!, v, bias, guide: guide && { weight: guide, guideScale: 0.25, factorScale: 0.75 } };
    };
  };
  const [fc1, fc2] = [layer(c.fc1, c.x[1]!), layer(c.fc2, hidden)];
  const run: Check['run'] = (...inputs) => feedForward(inputs[0]!, fc1(inputs), fc2(inputs), c.activation ?? 'none');
  return { name: JSON.stringify(c), shapes, run, kink: c.activation === 'relu' };
}

function layerCheck(c: Case): Check {
  const features = featuresOf(c.u);
  const shapes = [c.x, c.u];
  if (c.v) shapes.push(c.v);
  if (c.bias) shapes.push([features]);
  if (c.guide) shapes.push([features, c.x[1]!]);
  if (c.residual) shapes.push([c.x[0]!, c.activation === 'swiglu' ? features / 2 : features]);
  const run: Check['run'] = (...inputs) => {
    const take = (present: unknown) => (present ? inputs.shift()! : null);
    const [x, u] = [inputs.shift()!, inputs.shift()!];
    const [v, bias, weight, residual] = [take(c.v), take(c.bias), take(c.guide), take(c.residual)];
    const guide = weight && { weight, guideScale: 0.25, factorScale: 0.75 };
    return structuredLinear(x, { u, v, bias, guide }, { activation: c.activation ?? 'none', residual });
  };
  return { name: JSON.stringify(c), shapes, run, kink: c.activation === 'relu' };
}

const matmulChecks = (m: number, n: number, k: number): Check[] =>
  [0, 1, 2, 3].map((bits) => {
    const [transposeA, transposeB] = [(bits & 1) !== 0, (bits & 2) !== 0];
    return {
      name: `matmul ${m} ${n} ${k} ${transposeA} ${transposeB}`,
      shapes: [transposeA ? [2, k, m] : [2, m, k], transposeB ? [2, n, k] : [2, k, n]],
      run: (a, b) => matmul(a!, b!, { transposeA, transposeB }),
    };
  });

/** Its logits and the gradient of its weight are float32 whatever the type of the operands. */
const crossEntropyCheck = (tokens: number, classes: number, features: number): Check => ({
  name: `linearCrossEntropy ${tokens} ${classes} ${features}`,
  shapes: [
    [tokens, features],
    [classes, features],
  ],
  run: (x, weight) => {
    const targets = Int32Array.from({ length: tokens }, (_, i) => (7 * i) % classes);
    return linearCrossEntropy(x!, weight!, tensor(targets, [tokens], { device: x!.device }));
  },
});

const CHECKS = [
  ...CASES.map(layerCheck),
  ...drawnCases(240, [1, 3, 4, 7, 8, 12, 13, 16, 16], 80).map(layerCheck),
  ...drawnCases(200, [17, 40, 66, 70, 130], 140).map(layerCheck),
  ...[...NETWORKS, ...drawnNetworks(32, 8)].map(networkCheck),
  ...matmulChecks(72, 80, 24),
  ...matmulChecks(69, 71, 19),
  ...matmulChecks(130, 139, 90),
  ...matmulChecks(136, 144, 88),
  ...matmulChecks(136, 264, 328),
  ...matmulChecks(20, 24, 40),
  ...matmulChecks(40, 200, 88),
  ...matmulChecks(200, 40, 88),
  ...matmulChecks(37, 203, 19),
  ...matmulChecks(203, 37, 19),
  ...matmulChecks(33, 21, 9),
  ...matmulChecks(38, 40, 9),
  ...matmulChecks(38, 40, 541),
  ...matmulChecks(40, 48, 552),
  ...matmulChecks(37, 43, 541),
  ...matmulChecks(72, 80, 552),
  ...matmulChecks(69, 71, 541),
  ...[1, 3, 8, 16, 70].flatMap((tokens) => [crossEntropyCheck(tokens, 20, 24), crossEntropyCheck(tokens, 67, 37)]),
];

/** Anything that the ops allow, up to two tiles in each direction. */
function randomChecks(count: number): Check[] {
  const random = new TestRandom(6);
  const pick = <T>(values: readonly T[]): T => values[random.int(0, values.length - 1)]!;
  return Array.from({ length: count }, () => {
    const unit = pick([1, 1, 2, 4, 8, 8]);
    const size = (largest: number) => unit * random.int(1, Math.max(1, Math.floor(largest / unit)));
    const rows = pick([random.int(1, 16), random.int(17, 64), random.int(65, 140), size(140)]);
    const kind = random.next();
    if (kind < 0.2) return pick(matmulChecks(rows, size(150), size(pick([40, 300]))));
    if (kind < 0.25) return crossEntropyCheck(rows, size(140), size(90));
    const blocks = pick([1, 1, 2, 3, 4]);
    const shared = {
      bias: random.next() < 0.6,
      guide: random.next() < 0.3,
      activation: pick(['none' as const, ...DRAWN_ACTIVATIONS]),
      residual: random.next() < 0.3,
    };
    const [inputs, part, out] = [size(200 / blocks), size(150 / blocks), 2 * size(150 / blocks)];
    const x = [rows, blocks * inputs];
    if (random.next() < 0.3) return layerCheck({ ...shared, guide: false, x, u: [out, blocks * inputs] });
    if (blocks === 1) return layerCheck({ ...shared, x, v: [part, inputs], u: [out, part] });
    const outer = pick([1, blocks]);
    const u = outer === 1 ? [out, blocks * part] : [blocks, out, part];
    return layerCheck({ ...shared, x, v: [blocks, part, inputs], u });
  });
}

/** Blocks of so many columns, out of or into the layer, that those of all blocks are computed and stored together. */
function randomWideChecks(count: number): Check[] {
  const random = new TestRandom(7);
  const pick = <T>(values: readonly T[]): T => values[random.int(0, values.length - 1)]!;
  return Array.from({ length: count }, () => {
    const [blocks, unit, tile] = [pick([2, 3, 4]), pick([1, 8]), pick([64, 128])];
    const rows = tile === 64 ? random.int(17, 64) : random.int(65, 140);
    const narrow = unit * random.int(1, Math.floor(16 / unit));
    // More tiles than multiprocessors (scripts/product_runs.mjs).
    const wide = tile * Math.ceil(9 / Math.ceil(rows / tile)) + unit * random.int(1, tile / unit);
    const [part, out] = random.next() < 0.5 ? [narrow, wide] : [wide, narrow];
    const shared = { bias: random.next() < 0.5, activation: pick(['none', 'gelu', 'silu'] as const) };
    const x = [rows, blocks * narrow];
    return layerCheck({ ...shared, x, v: [blocks, part, narrow], u: [blocks, out, part] });
  });
}

/** Type, whether TF32 is allowed, tolerance. */
const TYPES = [
  ['float32', false, 1e-5],
  ['float32', true, 5e-3],
  ['bfloat16', false, 2e-2],
] as const;

/** The output and all gradients of a check, computed in `dtype` on `device` from inputs rounded to `rounded`. */
function compute({ shapes, run }: Check, device: 'cpu' | 'cuda', dtype: DType, rounded: DType): number[][] {
  const random = new TestRandom(11);
  const round = (shape: readonly number[], limit = 1) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return tensor(random.array(size, -limit, limit), shape, { dtype: rounded }).toArray();
  };
  return tidy(() => {
    const inputs = shapes.map((shape, i) => {
      // Sums of size 1: of many larger terms, the rounding errors alone reach from one side of an activation to the other.
      const isWeight = i > 0 && shape.length > 1;
      const values = round(shape, isWeight ? 2 / Math.sqrt(shape.at(-1)!) : 1);
      return tensor(values, shape, { device, dtype, requiresGrad: true });
    });
    const y = run(...inputs);
    y.backward(tensor(round(y.shape), y.shape, { device, dtype: y.dtype }));
    const gradients = inputs.map((t) => {
      const values = [...t.grad!.toArray()];
      t.grad!.dispose();
      return values;
    });
    return [[...y.toArray()], ...gradients];
  });
}

/** The largest difference of an element, relative to the largest element; NaN where anything is NaN. */
function difference(actual: readonly number[], expected: readonly number[]): number {
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!) / largest), 0);
}

const option = (name: string) => process.argv.find((text) => text.startsWith(`--${name}=`))?.slice(name.length + 3);

const drawn = Number(option('random') ?? 0);
const checks =
  drawn > 0
    ? [
        ...randomChecks(drawn),
        ...randomWideChecks(Math.ceil(drawn / 10)),
        ...drawnNetworks(Math.ceil(drawn / 10), 9).map(networkCheck),
      ]
    : CHECKS;
const type = option('type');
const all = TYPES.filter(([dtype]) => type === undefined || type === dtype).flatMap(([dtype, tf32, tolerance]) =>
  checks
    .filter(({ kink }) => !(tf32 && kink))
    .map((check) => ({ check, dtype, tf32, tolerance, name: `${check.name}, ${dtype}${tf32 ? ' by TF32' : ''}` })),
);
const chosen = option('checks')?.split(',').map(Number);

const keepGoing = process.argv.includes('--keep-going');
/** After so many comparisons a run that keeps going says how far it is: it may be ended before it ends. */
const SAY_EVERY = 100;

/** Ends this process where a value on the device is wrong, or remembers it. */
function compare({ check, dtype, tf32, tolerance, name }: (typeof all)[number]): void {
  setCudaTf32(tf32);
  const expected = compute(check, 'cpu', 'float32', dtype);
  compute(check, 'cuda', dtype, dtype).forEach((values, i) => {
    const error = difference(values, expected[i]!);
    if (error < tolerance) return;
    console.error(`${name}: value ${i} differs by ${error}`);
    if (!keepGoing) process.exit(1);
    process.exitCode = 1;
  });
}

if (process.argv.includes('--list')) {
  for (const { name } of all) console.log(name);
} else {
  const indices = chosen ?? [...all.keys()];
  for (const [i, index] of indices.entries()) {
    // Beside what the executor prints of launches, this tells whose they are.
    if (chosen) console.error(`check ${index}`);
    compare(all[index]!);
    const done = i + 1;
    if (keepGoing && (done % SAY_EVERY === 0 || done === indices.length))
      console.log(`${done} of ${indices.length} compared`);
  }
}
