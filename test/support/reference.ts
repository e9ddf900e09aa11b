/**
 * The layers in float64, straight from the formulas and independent of the library: the definition that every kernel is
 * compared with. A first factor v [K, q, p], maybe an activation, a shuffle, a second factor u [L, s, r], K·q = L·r; a
 * dense layer has no v.
 */

export type Vector = Float64Array;
export type Blocks = readonly [count: number, rows: number, columns: number];

export interface ReferenceLayer {
  /** null for a dense layer. */
  readonly vShape: Blocks | null;
  readonly uShape: Blocks;
  readonly v: Vector | null;
  readonly u: Vector;
  readonly bias?: Vector | null;
  readonly guide?: Vector | null;
  readonly alpha?: number;
  /** Between the factors. Default: none. */
  readonly inner?: Pointwise;
}

export interface ReferenceGradients {
  readonly dx: Vector;
  readonly dv: Vector | null;
  readonly du: Vector;
  readonly dbias: Vector;
  readonly dguide: Vector | null;
}

export const inFeaturesOf = ({ vShape, uShape }: ReferenceLayer): number => {
  const [count, , columns] = vShape ?? uShape;
  return count * columns;
};

export const outFeaturesOf = ({ uShape: [L, s] }: ReferenceLayer): number => L * s;

/** One token through the first factor: out[k·q + i] = Σ_j v[k,i,j] x[k·p + j]. */
function first(x: Vector, v: Vector, [K, q, p]: Blocks): Vector {
  const out = new Float64Array(K * q);
  for (let k = 0; k < K; k++)
    for (let i = 0; i < q; i++) for (let j = 0; j < p; j++) out[k * q + i]! += v[(k * q + i) * p + j]! * x[k * p + j]!;
  return out;
}

/** One token through the shuffles and the second factor: out[i·L + l] = Σ_j u[l,i,j] h[j·L + l]. */
function second(h: Vector, u: Vector, [L, s, r]: Blocks): Vector {
  const out = new Float64Array(L * s);
  for (let l = 0; l < L; l++)
    for (let i = 0; i < s; i++) for (let j = 0; j < r; j++) out[i * L + l]! += u[(l * s + i) * r + j]! * h[j * L + l]!;
  return out;
}

const row = (x: Vector, t: number, features: number): Vector => x.subarray(t * features, (t + 1) * features);

/** S(x), or x Wᵀ for a dense layer, without bias; x [n, in] → [n, out]. */
export function applyFactors(layer: ReferenceLayer, x: Vector): Vector {
  const [inFeatures, outFeatures] = [inFeaturesOf(layer), outFeaturesOf(layer)];
  const n = x.length / inFeatures;
  const y = new Float64Array(n * outFeatures);
  for (let t = 0; t < n; t++) {
    const xt = row(x, t, inFeatures);
    const h = layer.v && layer.vShape ? activate(layer.inner ?? 'none', first(xt, layer.v, layer.vShape), 0) : xt;
    y.set(second(h, layer.u, layer.uShape), t * outFeatures);
  }
  return y;
}

const denseOf = (layer: ReferenceLayer, weight: Vector): ReferenceLayer => ({
  vShape: null,
  uShape: [1, outFeaturesOf(layer), inFeaturesOf(layer)],
  v: null,
  u: weight,
});

/** alpha · x Wᵀ + (1 − alpha) · S(x) + bias. */
export function referenceForward(layer: ReferenceLayer, x: Vector): Vector {
  const { bias, guide, alpha = 0 } = layer;
  const outFeatures = outFeaturesOf(layer);
  const y = applyFactors(layer, x);
  const guided = guide ? applyFactors(denseOf(layer, guide), x) : null;
  return y.map((value, i) => (1 - alpha) * value + alpha * (guided?.[i] ?? 0) + (bias?.[i % outFeatures] ?? 0));
}

/** The dense matrix [out, in] of the factors: the layer applied to the identity, transposed. */
export function referenceMerge(layer: ReferenceLayer): Vector {
  const [inFeatures, outFeatures] = [inFeaturesOf(layer), outFeaturesOf(layer)];
  const merged = new Float64Array(outFeatures * inFeatures);
  for (let j = 0; j < inFeatures; j++) {
    const unit = new Float64Array(inFeatures);
    unit[j] = 1;
    applyFactors(layer, unit).forEach((value, i) => {
      merged[i * inFeatures + j] = value;
    });
  }
  return merged;
}

/** Gradients of Σ g·S(x), g [n, out]. */
function factorGradients(layer: ReferenceLayer, x: Vector, g: Vector): { dx: Vector; dv: Vector | null; du: Vector } {
  const { vShape, v, u, uShape, inner = 'none' } = layer;
  const [L, s, r] = uShape;
  const [inFeatures, outFeatures] = [inFeaturesOf(layer), outFeaturesOf(layer)];
  const dx = new Float64Array(x.length);
  const du = new Float64Array(u.length);
  const dv = v ? new Float64Array(v.length) : null;
  for (let t = 0; t < x.length / inFeatures; t++) {
    const xt = row(x, t, inFeatures);
    const gt = row(g, t, outFeatures);
    const before = v && vShape ? first(xt, v, vShape) : xt;
    const h = v ? activate(inner, before, 0) : xt;
    const dg = new Float64Array(L * r);
    for (let l = 0; l < L; l++)
      for (let i = 0; i < s; i++)
        for (let j = 0; j < r; j++) {
          const at = (l * s + i) * r + j;
          du[at]! += gt[i * L + l]! * h[j * L + l]!;
          dg[j * L + l]! += gt[i * L + l]! * u[at]!;
        }
    const dh = v ? activateBackward(inner, before, 0, dg) : dg;
    if (v && dv && vShape) {
      const [K, q, p] = vShape;
      for (let k = 0; k < K; k++)
        for (let i = 0; i < q; i++)
          for (let j = 0; j < p; j++) {
            const at = (k * q + i) * p + j;
            dv[at]! += dh[k * q + i]! * xt[k * p + j]!;
            dx[t * inFeatures + k * p + j]! += dh[k * q + i]! * v[at]!;
          }
    } else {
      dx.set(dh, t * inFeatures);
    }
  }
  return { dx, dv, du };
}

/** Gradients of Σ g·y. */
export function referenceBackward(layer: ReferenceLayer, x: Vector, g: Vector): ReferenceGradients {
  const { guide, alpha = 0 } = layer;
  const outFeatures = outFeaturesOf(layer);
  const scaled = g.map((value) => (1 - alpha) * value);
  const { dx, dv, du } = factorGradients(layer, x, scaled);
  const dbias = new Float64Array(outFeatures);
  g.forEach((value, i) => {
    dbias[i % outFeatures]! += value;
  });
  if (!guide) return { dx, dv, du, dbias, dguide: null };
  const fromGuide = factorGradients(
    denseOf(layer, guide),
    x,
    g.map((value) => alpha * value),
  );
  return { dx: dx.map((value, i) => value + fromGuide.dx[i]!), dv, du, dbias, dguide: fromGuide.du };
}

export type Pointwise = 'none' | 'gelu' | 'silu' | 'relu';
export type ReferenceActivation = Pointwise | 'swiglu';

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const geluInner = (x: number): number => 0.79788456 * (x + 0.044715 * x ** 3);

/** Value and derivative of the activations of one argument. */
const POINTWISE: Readonly<Record<Pointwise, (x: number) => readonly [number, number]>> = {
  none: (x) => [x, 1],
  relu: (x) => (x > 0 ? [x, 1] : [0, 0]),
  silu: (x) => [x * sigmoid(x), sigmoid(x) * (1 + x * (1 - sigmoid(x)))],
  gelu: (x) => {
    const t = Math.tanh(geluInner(x));
    return [0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.79788456 * (1 + 3 * 0.044715 * x * x)];
  },
};

/** act(pre), pre [n, features]; swiglu: silu(first half) · second half of each row. */
export function activate(activation: ReferenceActivation, pre: Vector, features: number): Vector {
  if (activation !== 'swiglu') return pre.map((value) => POINTWISE[activation](value)[0]);
  const half = features / 2;
  return new Float64Array(pre.length / 2).map((_, i) => {
    const at = Math.floor(i / half) * features + (i % half);
    return POINTWISE.silu(pre[at]!)[0] * pre[at + half]!;
  });
}

/** Gradient by pre of Σ g·act(pre). */
export function activateBackward(activation: ReferenceActivation, pre: Vector, features: number, g: Vector): Vector {
  if (activation !== 'swiglu') return pre.map((value, i) => POINTWISE[activation](value)[1] * g[i]!);
  const half = features / 2;
  const dpre = new Float64Array(pre.length);
  g.forEach((value, i) => {
    const at = Math.floor(i / half) * features + (i % half);
    const [silu, slope] = POINTWISE.silu(pre[at]!);
    dpre[at] = value * slope * pre[at + half]!;
    dpre[at + half] = value * silu;
  });
  return dpre;
}

/** fc2(act(fc1(x))). */
export function referenceFfnForward(
  fc1: ReferenceLayer,
  fc2: ReferenceLayer,
  activation: ReferenceActivation,
  x: Vector,
): Vector {
  return referenceForward(fc2, activate(activation, referenceForward(fc1, x), outFeaturesOf(fc1)));
}

/** Gradients of Σ g·y; dx is in `fc1`. */
export function referenceFfnBackward(
  fc1: ReferenceLayer,
  fc2: ReferenceLayer,
  activation: ReferenceActivation,
  x: Vector,
  g: Vector,
): { fc1: ReferenceGradients; fc2: ReferenceGradients } {
  const pre = referenceForward(fc1, x);
  const hidden = activate(activation, pre, outFeaturesOf(fc1));
  const second = referenceBackward(fc2, hidden, g);
  const dpre = activateBackward(activation, pre, outFeaturesOf(fc1), second.dx);
  return { fc1: referenceBackward(fc1, x, dpre), fc2: second };
}
