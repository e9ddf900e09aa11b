/** Initial values of weights (Wei et al. 2024, section 4 and appendix). Biases start at 0, norms at weight 1 and bias 0. */
import { checkChoice } from '../errors';
import { polarFactor, svd } from '../ops/linalg';
import type { Generator } from '../random';
import { tidy } from '../scope';
import { numel, type Shape, type Tensor } from '../tensor';

/**
 * - `normal`: N(0, 0.02²).
 * - `xavier`: N(0, 1/fan_in), fan_in the last dimension of the factor.
 * - `svd` (two factors of one block): u·v is the best approximation of a dense matrix of the `normal` base.
 * - `ortho`: each block is the orthogonal polar factor of a `normal` draw, so that all its singular values are 1.
 */
export type Init = 'normal' | 'xavier' | 'svd' | 'ortho';

export const INIT_STD = 0.02;

/** A weight [..., out, in] by one of the bases that need no partner. */
export function initWeight(generator: Generator, shape: Shape, init: 'normal' | 'xavier' | 'ortho'): Tensor {
  checkChoice('init', init, ['normal', 'xavier', 'ortho']);
  if (init === 'xavier') return generator.normal(shape, 0, 1 / Math.sqrt(shape[shape.length - 1] ?? 1));
  if (init === 'normal') return generator.normal(shape, 0, INIT_STD);
  return tidy(() => polarFactor(generator.normal(shape, 0, INIT_STD)));
}

/** v = √Σ Cᵀ [rank, in] and u = A √Σ [out, rank] of the SVD A Σ Cᵀ of a dense draw, cut to the rank. */
export function initBySvd(
  generator: Generator,
  inFeatures: number,
  outFeatures: number,
  rank: number,
): { v: Tensor; u: Tensor } {
  return tidy(() => {
    const { u, s, vt } = svd(generator.normal([outFeatures, inFeatures], 0, INIT_STD), rank);
    const roots = s.data.map(Math.sqrt);
    scaleInPlace(vt, (i) => roots[Math.floor(i / inFeatures)]!);
    scaleInPlace(u, (i) => roots[i % rank]!);
    return { v: vt, u };
  });
}

function scaleInPlace(t: Tensor, factor: (index: number) => number): void {
  const { data } = t;
  for (let i = 0; i < numel(t.shape); i++) data[i]! *= factor(i);
}
