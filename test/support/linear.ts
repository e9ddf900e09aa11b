/** The layers in float64, straight from their formulas, as references for checkOp. */
import type { Activation } from '../../lib';
import type { Nd } from './check_op';

const geluTanh = (a: number) => 0.5 * a * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3)));
const silu = (a: number) => a / (1 + Math.exp(-a));

export function activate(y: Nd, activation: Activation): Nd {
  if (activation === 'none') return y;
  if (activation !== 'swiglu') {
    const f = { gelu: geluTanh, silu, relu: (a: number) => Math.max(a, 0) }[activation];
    return { shape: y.shape, data: y.data.map(f) };
  }
  const width = y.shape[1]!;
  const half = width / 2;
  const data = Float64Array.from({ length: y.shape[0]! * half }, (_, i) => {
    const at = Math.floor(i / half) * width + (i % half);
    return silu(y.data[at]!) * y.data[at + half]!;
  });
  return { shape: [y.shape[0]!, half], data };
}

/** Block-diagonal product, straight from the specification. */
function blockDiagonal(x: Nd, v: Nd): Nd {
  const [K, q, p] = v.shape as [number, number, number];
  const n = x.shape[0]!;
  const y = new Float64Array(n * K * q);
  for (let t = 0; t < n; t++)
    for (let k = 0; k < K; k++)
      for (let i = 0; i < q; i++)
        for (let j = 0; j < p; j++)
          y[t * K * q + k * q + i]! += v.data[(k * q + i) * p + j]! * x.data[t * K * p + k * p + j]!;
  return { shape: [n, K * q], data: y };
}

/** The general two-factor layer: product, activation, shuffle, product, interleaved output. */
export function structured(x: Nd, v: Nd, u: Nd, inner: Activation = 'none'): Nd {
  const h = activate(blockDiagonal(x, v), inner);
  const [L, s, r] = u.shape as [number, number, number];
  const n = x.shape[0]!;
  const y = new Float64Array(n * L * s);
  for (let t = 0; t < n; t++)
    for (let l = 0; l < L; l++)
      for (let i = 0; i < s; i++)
        for (let j = 0; j < r; j++)
          y[t * L * s + i * L + l]! += u.data[(l * s + i) * r + j]! * h.data[t * L * r + j * L + l]!;
  return { shape: [n, L * s], data: y };
}

export const dense = (x: Nd, w: Nd): Nd => blockDiagonal(x, { shape: [1, ...w.shape], data: w.data });

export const plusBias = (y: Nd, bias?: Nd): Nd =>
  bias ? { shape: y.shape, data: y.data.map((value, i) => value + bias.data[i % y.shape[1]!]!) } : y;

export const blocks = (nd: Nd): Nd => (nd.shape.length === 3 ? nd : { shape: [1, ...nd.shape], data: nd.data });

export const plus = (y: Nd, residual: Nd): Nd => ({
  shape: y.shape,
  data: y.data.map((value, i) => value + residual.data[i]!),
});
