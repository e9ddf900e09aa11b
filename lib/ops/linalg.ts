/** Factorisations, computed in float64. Not differentiable: they initialise and compress layers. */
import { checkInteger, formatShape, OptionError, runNative, ShapeError } from '../errors';
import { kernels } from '../kernels';
import { empty, numel, type Tensor } from '../tensor';
import { checkTensor, emptyLike } from './check';

/** a = u · diag(s) · vt, up to the rank. */
export interface Svd {
  /** [..., m, rank], orthonormal columns. */
  readonly u: Tensor;
  /** [..., rank], descending. */
  readonly s: Tensor;
  /** [..., rank, n], orthonormal rows. */
  readonly vt: Tensor;
}

function matricesOf(where: string, a: Tensor): { leading: readonly number[]; batch: number; m: number; n: number } {
  checkTensor(where, a, 'float32');
  if (a.rank < 2) throw new ShapeError(where, 'matrices [..., m, n]', formatShape(a.shape));
  const leading = a.shape.slice(0, -2);
  const [m, n] = a.shape.slice(-2) as [number, number];
  return { leading, batch: numel(leading), m, n };
}

/** The `rank` largest singular triples of each matrix of a [..., m, n]; default: all min(m, n). */
export function svd(a: Tensor, rank?: number): Svd {
  const { leading, batch, m, n } = matricesOf('svd: a', a);
  const wanted = rank ?? Math.min(m, n);
  checkInteger('svd: rank', wanted);
  if (wanted > Math.min(m, n)) throw new OptionError('svd: rank', `at most ${Math.min(m, n)}`, wanted);
  const u = empty([...leading, m, wanted], 'float32', a.device);
  const s = empty([...leading, wanted], 'float32', a.device);
  const vt = empty([...leading, wanted, n], 'float32', a.device);
  runNative(() => kernels.svd({ a, u, s, vt, batch, m, n, rank: wanted }));
  return { u, s, vt };
}

/** The orthogonal factor u·vt of each matrix's polar decomposition: all singular values become 1. a [..., m, n]. */
export function polarFactor(a: Tensor): Tensor {
  const { batch, m, n } = matricesOf('polarFactor: a', a);
  const y = emptyLike(a);
  if (a.size > 0) runNative(() => kernels.polar({ a, y, batch, m, n }));
  return y;
}
