/** Definitions of ops in float64, straight from their formulas: what every kernel is compared with. */
import type { Nd } from './check_op';

const count = (shape: readonly number[]): number => shape.reduce((n, s) => n * s, 1);

/** Row-major steps. */
const strides = (shape: readonly number[]): number[] => shape.map((_, i) => count(shape.slice(i + 1)));

const sigmoid = (a: number): number => 1 / (1 + Math.exp(-a));
const geluTanh = (a: number): number => 0.5 * a * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3)));

/** By the names of the ops. */
export const UNARY = {
  neg: (a) => -a,
  exp: Math.exp,
  tanh: Math.tanh,
  sigmoid,
  gelu: geluTanh,
  silu: (a) => a * sigmoid(a),
  relu: (a) => Math.max(a, 0),
  square: (a) => a * a,
  abs: Math.abs,
  sin: Math.sin,
  cos: Math.cos,
} as const satisfies Readonly<Record<string, (a: number) => number>>;

/** Of positive numbers. */
export const UNARY_POSITIVE = {
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (a) => 1 / Math.sqrt(a),
  reciprocal: (a) => 1 / a,
} as const satisfies Readonly<Record<string, (a: number) => number>>;

/** By the names of the ops; powers of positive numbers. */
export const BINARY = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: (a, b) => a ** b,
  maximum: Math.max,
  minimum: Math.min,
} as const satisfies Readonly<Record<string, (a: number, b: number) => number>>;

/** numpy's broadcasting, one element at a time. */
export function broadcast(f: (a: number, b: number) => number) {
  return (a: Nd, b: Nd): Float64Array => {
    const rank = Math.max(a.shape.length, b.shape.length);
    const pad = (shape: readonly number[]) => [...Array(rank - shape.length).fill(1), ...shape] as number[];
    const [sa, sb] = [pad(a.shape), pad(b.shape)];
    const shape = sa.map((size, i) => (size === 1 ? sb[i]! : size));
    const y = new Float64Array(count(shape));
    for (let flat = 0; flat < y.length; flat++) {
      let rest = flat;
      const index = shape.map(() => 0);
      for (let i = rank - 1; i >= 0; i--) {
        index[i] = rest % shape[i]!;
        rest = Math.floor(rest / shape[i]!);
      }
      const at = (nd: Nd, sizes: number[]) =>
        nd.data[index.reduce((o, x, i) => o * sizes[i]! + (sizes[i] === 1 ? 0 : x), 0)]!;
      y[flat] = f(at(a, sa), at(b, sb));
    }
    return y;
  };
}

/** `f` of the values along a dimension. */
export function along(f: (values: number[]) => number, dim: number) {
  return (x: Nd): Float64Array => {
    const outer = count(x.shape.slice(0, dim));
    const extent = x.shape[dim]!;
    const inner = count(x.shape.slice(dim + 1));
    return Float64Array.from({ length: outer * inner }, (_, i) => {
      const [o, j] = [Math.floor(i / inner), i % inner];
      return f(Array.from({ length: extent }, (_, k) => x.data[(o * extent + k) * inner + j]!));
    });
  };
}

export const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** y[index] = x[source(index)], over every index of `shape`. */
export function gather(x: Nd, shape: readonly number[], source: (index: number[]) => number[]): Float64Array {
  const steps = strides(shape);
  const from = strides(x.shape);
  return Float64Array.from({ length: count(shape) }, (_, flat) => {
    const index = shape.map((size, i) => Math.floor(flat / steps[i]!) % size);
    return x.data[source(index).reduce((offset, at, i) => offset + at * from[i]!, 0)]!;
  });
}

export const permuted = (x: Nd, order: readonly number[]): Float64Array =>
  gather(
    x,
    order.map((d) => x.shape[d]!),
    (index) => x.shape.map((_, d) => index[order.indexOf(d)]!),
  );

export const sliced = (x: Nd, d: number, start: number, end: number): Float64Array =>
  gather(
    x,
    x.shape.map((s, i) => (i === d ? end - start : s)),
    (index) => index.map((at, i) => (i === d ? at + start : at)),
  );

/** `f` of each row. */
export function rows(x: Nd, f: (row: Float64Array) => ArrayLike<number>): Float64Array {
  const width = x.shape[x.shape.length - 1]!;
  const y = new Float64Array(x.data.length);
  for (let i = 0; i < y.length; i += width) y.set(f(x.data.subarray(i, i + width)), i);
  return y;
}

export const softmaxOf = (row: Float64Array): Float64Array => {
  const top = Math.max(...row);
  const powers = row.map((a) => Math.exp(a - top));
  const all = total([...powers]);
  return powers.map((a) => a / all);
};

const NORM_EPS = 1e-5;

export const layerNormOf = (x: Nd, weight: Nd, bias?: Nd): Float64Array =>
  rows(x, (row) => {
    const mean = total([...row]) / row.length;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
    return row.map((v, i) => ((v - mean) / Math.sqrt(variance + NORM_EPS)) * weight.data[i]! + (bias?.data[i] ?? 0));
  });

export const rmsNormOf = (x: Nd, weight: Nd): Float64Array =>
  rows(x, (row) => {
    const scale = 1 / Math.sqrt(row.reduce((a, b) => a + b * b, 0) / row.length + NORM_EPS);
    return row.map((v, i) => v * scale * weight.data[i]!);
  });

/** Of each target that is not `ignore`, the mean of −log softmax. */
export function meanLoss(logits: Nd, targets: ArrayLike<number>, ignore = -100): Float64Array {
  const classes = logits.shape[1]!;
  let sum = 0;
  let counted = 0;
  for (let i = 0; i < targets.length; i++) {
    const target = targets[i]!;
    if (target === ignore) continue;
    const row = logits.data.subarray(i * classes, (i + 1) * classes);
    const top = Math.max(...row);
    sum += top + Math.log(row.reduce((all, x) => all + Math.exp(x - top), 0)) - row[target]!;
    counted++;
  }
  return Float64Array.of(counted === 0 ? 0 : sum / counted);
}

/** x [n, features] times the transpose of weight [classes, features]. */
export function logitsOf(x: Nd, weight: Nd): Nd {
  const [n, features] = x.shape as [number, number];
  const classes = weight.shape[0]!;
  const data = new Float64Array(n * classes);
  for (let i = 0; i < n; i++)
    for (let c = 0; c < classes; c++)
      for (let f = 0; f < features; f++)
        data[i * classes + c]! += x.data[i * features + f]! * weight.data[c * features + f]!;
  return { shape: [n, classes], data };
}

/** a [..., m, k] times b [..., k, n], either transposed; or one b for all of a. */
export function product(a: Nd, b: Nd, transposeA = false, transposeB = false): Float64Array {
  const batch = count(a.shape.slice(0, -2));
  const [a0, a1] = a.shape.slice(-2) as [number, number];
  const [b0, b1] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [a1, a0] : [a0, a1];
  const n = transposeB ? b0 : b1;
  const y = new Float64Array(batch * m * n);
  for (let c = 0; c < batch; c++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++)
        for (let l = 0; l < k; l++) {
          const x = a.data[c * m * k + (transposeA ? l * m + i : i * k + l)]!;
          const w = b.data[(b.shape.length === 2 ? 0 : c * k * n) + (transposeB ? j * k + l : l * n + j)]!;
          y[(c * m + i) * n + j]! += x * w;
        }
  return y;
}

export interface AttentionSizes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly ropeBase: number;
}

/** Causal attention with the whole score matrix. */
export function attention(qkv: Nd, { heads, kvHeads, ropeBase }: AttentionSizes): Float64Array {
  const [batch, seq, width] = qkv.shape as [number, number, number];
  const size = width / (heads + 2 * kvHeads);
  const y = new Float64Array(batch * seq * heads * size);
  const head = (b: number, t: number, slot: number, rotated: boolean): number[] => {
    const at = (b * seq + t) * width + slot * size;
    const x = [...qkv.data.subarray(at, at + size)];
    if (!rotated || ropeBase === 0) return x;
    const half = size / 2;
    return x.map((_, i) => {
      const angle = t / ropeBase ** ((2 * (i % half)) / size);
      return i < half
        ? x[i]! * Math.cos(angle) - x[i + half]! * Math.sin(angle)
        : x[i]! * Math.cos(angle) + x[i - half]! * Math.sin(angle);
    });
  };
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++) {
      const kv = Math.floor(h / (heads / kvHeads));
      for (let t = 0; t < seq; t++) {
        const q = head(b, t, h, true);
        const scores = Array.from({ length: t + 1 }, (_, s) =>
          Math.exp(head(b, s, heads + kv, true).reduce((sum, k, i) => sum + k * q[i]!, 0) / Math.sqrt(size)),
        );
        const all = total(scores);
        for (let s = 0; s <= t; s++) {
          const v = head(b, s, heads + kvHeads + kv, false);
          for (let i = 0; i < size; i++) y[((b * seq + t) * heads + h) * size + i]! += (scores[s]! / all) * v[i]!;
        }
      }
    }
  return y;
}
