/**
 * The nearest structured layer to a dense matrix, in the Frobenius norm.
 *
 * Hidden feature c of a layer belongs to one block k of v and to one block l of u (k = ⌊c/q⌋, l = c mod L). So the
 * layer's matrix falls into K·L slices, W[i·L + l, k·p + j]. Each is the product of its own columns of u[l] and rows of
 * v[k]; no other slice uses these. Therefore the best approximation, for all structures alike, is the SVD of every
 * slice, cut at the slice's number of hidden features. LowRank has one slice. BlockDense has K, one for each column
 * block, so it needs no alternating least squares. BlockShuffle has K·L, of rank one when q = L.
 */
import { lengthOf } from '../dtype';
import { OptionError, runNative } from '../errors';
import { checkRaw } from '../functional/buffers';
import { kernels } from '../kernels';
import { type LinearDims, linearDims } from '../ops/linear_dims';
import { checkedShape, numel, type Shape } from '../sizes';

/** Factors that stand for a matrix. */
export interface Factors {
  /** First factor, row-major, of the shape that was asked for. */
  readonly v: Float32Array;
  /** Second factor, row-major, of the shape that was asked for. */
  readonly u: Float32Array;
  /** ‖W − S‖ / ‖W‖, Frobenius. */
  readonly error: number;
}

type Sizes = [K: number, q: number, p: number, L: number, s: number, r: number];

const sizesOf = ({ sizes }: LinearDims): Sizes => [...sizes] as Sizes;

/** Hidden features between block k of v and block l of u. */
function hiddenOf(k: number, l: number, [, q, , L]: Sizes): number[] {
  const first = k * q + ((((l - k * q) % L) + L) % L);
  const found: number[] = [];
  for (let c = first; c < (k + 1) * q; c += L) found.push(c);
  return found;
}

/** The slices [K·L, s, p] of a matrix [out, in]. */
function slicesOf(weight: Float32Array, [K, , p, L, s]: Sizes): Float32Array {
  const slices = new Float32Array(weight.length);
  const inFeatures = K * p;
  for (let k = 0; k < K; k++)
    for (let l = 0; l < L; l++)
      for (let i = 0; i < s; i++) {
        const from = (i * L + l) * inFeatures + k * p;
        slices.set(weight.subarray(from, from + p), ((k * L + l) * s + i) * p);
      }
  return slices;
}

/**
 * The factors of the given shapes nearest to `weight` [out, in]. Singular values are shared evenly between v and u.
 * @throws {ShapeError | OptionError} when the shapes do not fit each other or the weight.
 */
export function nearestFactors(weight: Float32Array, vShape: Shape, uShape: Shape): Factors {
  checkRaw('nearestFactors: weight', weight, 'float32');
  const dims = linearDims(
    'nearestFactors',
    checkedShape('nearestFactors: v', vShape),
    checkedShape('nearestFactors: u', uShape),
  );
  const sizes = sizesOf(dims);
  const [K, q, p, L, s, r] = sizes;
  if (lengthOf(weight) !== dims.inFeatures * dims.outFeatures)
    throw new OptionError(
      'nearestFactors: weight',
      `${dims.outFeatures} x ${dims.inFeatures} elements`,
      lengthOf(weight),
    );
  const plain = new Float32Array(weight); // which says the truth of its length
  const count = K * L;
  const rank = Math.min(s, p, Math.ceil(q / L));
  const left = new Float32Array(count * s * rank);
  const values = new Float32Array(count * rank);
  const right = new Float32Array(count * rank * p);
  runNative(() =>
    kernels.svd({ a: slicesOf(plain, sizes), u: left, s: values, vt: right, batch: count, m: s, n: p, rank }),
  );

  const v = new Float32Array(numel(vShape));
  const u = new Float32Array(numel(uShape));
  for (let k = 0; k < K; k++)
    for (let l = 0; l < L; l++) {
      const slice = k * L + l;
      // If a slice has more hidden features than its rank, the others are zero.
      for (const [m, c] of hiddenOf(k, l, sizes).slice(0, rank).entries()) {
        const root = Math.sqrt(values[slice * rank + m]!);
        for (let j = 0; j < p; j++) v[c * p + j] = root * right[(slice * rank + m) * p + j]!;
        for (let i = 0; i < s; i++) u[(l * s + i) * r + (c - l) / L] = root * left[(slice * s + i) * rank + m]!;
      }
    }
  return { v, u, error: relativeError(plain, v, u, dims) };
}

function relativeError(weight: Float32Array, v: Float32Array, u: Float32Array, dims: LinearDims): number {
  const merged = new Float32Array(weight.length);
  runNative(() => kernels.linear_merge({ v, u, weight: merged, dims: dims.sizes }));
  let difference = 0;
  let all = 0;
  for (let i = 0; i < weight.length; i++) {
    difference += (merged[i]! - weight[i]!) ** 2;
    all += weight[i]! ** 2;
  }
  return all === 0 ? 0 : Math.sqrt(difference / all);
}
