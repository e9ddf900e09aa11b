/** Initial values of weights, by the bases that lib/structures defines. */
import { checkChoice, checkInstance } from '../errors';
import { polarFactor, svd } from '../ops/linalg';
import { Generator } from '../random';
import { tidy } from '../scope';
import type { FactorShapes, Init } from '../structures';
import { numel, type Shape, type Tensor, unset } from '../tensor';

export type { Init };

/** Standard deviation of the `normal` base. */
export const INIT_STD = 0.02;

/** A weight [..., out, in] by one of the bases for single factors. */
export function initWeight(generator: Generator, shape: Shape, init: 'normal' | 'xavier' | 'ortho'): Tensor {
  checkInstance('initWeight: generator', generator, Generator);
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
): {
  /** First factor [rank, in]. */
  v: Tensor;
  /** Second factor [out, rank]. */
  u: Tensor;
} {
  checkInstance('initBySvd: generator', generator, Generator);
  return tidy(() => {
    const { u, s, vt } = svd(generator.normal([outFeatures, inFeatures], 0, INIT_STD), rank);
    const roots = s.data.map(Math.sqrt);
    scaleInPlace(vt, (i) => roots[Math.floor(i / inFeatures)]!);
    scaleInPlace(u, (i) => roots[i % rank]!);
    return { v: vt, u };
  });
}

/** The weights of a layer, v drawn before u. `svd` is for factors of one block. */
export function initFactors(generator: Generator, { v, u }: FactorShapes, init: Init): { v: Tensor | null; u: Tensor } {
  if (init === 'svd') return initBySvd(generator, v![1]!, u[0]!, v![0]!);
  return { v: v && initWeight(generator, v, init), u: initWeight(generator, u, init) };
}

/** Draws nothing: tensors have their memory from their first use on. */
class UnsetGenerator extends Generator {
  override normal(shape: Shape): Tensor {
    return unset(shape);
  }
}

/**
 * Options of a model whose weights are loaded right afterwards: drawing them takes longer than reading them, and the
 * paper's initialisation an SVD or a polar factor of every layer besides.
 */
export const UNSET = { generator: new UnsetGenerator(0), init: 'normal' } as const;

function scaleInPlace(t: Tensor, factor: (index: number) => number): void {
  const { data } = t;
  for (let i = 0; i < numel(t.shape); i++) data[i]! *= factor(i);
}
