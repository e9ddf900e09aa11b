/**
 * Sizes of a linear layer. All structures are one family: a block-diagonal factor v [K, q, p], a shuffle across its
 * blocks, an optional activation, and a block-diagonal factor u [L, s, r], with K·q = L·r (native/kernels.def has the
 * formulas). A dense layer has no v; LowRank is K = L = 1; BlockDense L = 1; BlockShuffle K, L > 1.
 */
import { formatShape, ShapeError } from '../errors';
import { checkedShape, isSize } from '../sizes';
import type { Shape } from '../tensor';
import { ACTIVATIONS } from './activation';
import { int32Sizes } from './broadcast';
import { checkInnerActivation, type InnerActivation } from './inner_activation';

/** Sizes of a linear layer. */
export interface LinearDims {
  /** Features of the input. */
  readonly inFeatures: number;
  /** Features of the result, before an activation. */
  readonly outFeatures: number;
  /** Width between the factors; 0 for a dense layer. */
  readonly hidden: number;
  /** Multiply-accumulates per token. */
  readonly macs: number;
  /** Between the factors; none for a dense layer. */
  readonly innerActivation: InnerActivation;
  /** {K, q, p, L, s, r, inner activation} for the kernels. */
  readonly sizes: Int32Array;
}

/**
 * Dims of factors of the given shapes; `v` is null for a dense weight [out, in].
 * @throws {ShapeError} @throws {OptionError} for an unknown inner activation, or one of a dense layer.
 */
export function linearDims(
  where: string,
  v: Shape | null,
  u: Shape,
  innerActivation: InnerActivation = 'none',
): LinearDims {
  checkInnerActivation(where, innerActivation, v === null);
  for (const shape of v === null ? [u] : [v, u])
    if (!Array.isArray(shape) || !Object.isFrozen(shape) || !shape.every(isSize)) checkedShape(where, shape);
  if (v === null) {
    if (u.length !== 2) throw new ShapeError(where, 'a weight of [out, in]', formatShape(u));
    const [out, inn] = u as [number, number];
    return describe(where, [1, inn, inn, 1, out, inn], null);
  }
  const first = asBlocks(where, 'v', v);
  const second = asBlocks(where, 'u', u);
  const [K, q, p] = first;
  const [L, s, r] = second;
  if (K * q !== L * r)
    throw new ShapeError(
      where,
      `u to take the ${K * q} features that v of ${formatShape(v)} makes`,
      `u of ${formatShape(u)}, which takes ${L * r}`,
    );
  return describe(where, [K, q, p, L, s, r], innerActivation);
}

/** Another object for whoever asks: kernels trust the sizes, and no typed array can be frozen. */
export const copyOfDims = (dims: LinearDims): LinearDims => ({ ...dims, sizes: dims.sizes.slice() });

/** A factor of [rows, columns] is one block. */
function asBlocks(where: string, name: string, shape: Shape): [number, number, number] {
  if (shape.length === 2) return [1, shape[0]!, shape[1]!];
  if (shape.length === 3) return [shape[0]!, shape[1]!, shape[2]!];
  throw new ShapeError(where, `${name} of [rows, columns] or [nblocks, rows, columns]`, formatShape(shape));
}

function describe(
  where: string,
  sizes: [number, number, number, number, number, number],
  between: InnerActivation | null,
): LinearDims {
  const [K, q, p, L, s, r] = sizes;
  const innerActivation = between ?? 'none';
  return {
    inFeatures: K * p,
    outFeatures: L * s,
    hidden: between ? K * q : 0,
    macs: (between ? K * q * p : 0) + L * s * r,
    innerActivation,
    sizes: int32Sizes(where, [...sizes, ACTIVATIONS.indexOf(innerActivation)]),
  };
}
