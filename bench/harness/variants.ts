/** The structures at the sizes of the paper, for any width. */

import type { Structure } from '../../lib/nn';
import { blockDenseFor, lowRankFor } from '../../lib/nn/sizes';
import { type LinearDims, linearDims } from '../../lib/ops/linear_dims';
import type { Shape } from '../../lib/tensor';

/** A structure with its size; `dense` is what the others are compared with. */
export interface Variant {
  readonly name: string;
  readonly structure: Structure;
  /** Part of the dense parameters, for lowrank and blockdense. */
  readonly ratio?: number;
  /** For blockshuffle. */
  readonly nblocks?: number;
}

export const DENSE: Variant = { name: 'dense', structure: 'dense' };

const COMMON: readonly Variant[] = [
  DENSE,
  { name: 'lowrank 32 %', structure: 'lowrank', ratio: 0.32 },
  { name: 'blockdense 32 %', structure: 'blockdense', ratio: 0.32 },
  { name: 'blockshuffle B=4', structure: 'blockshuffle', nblocks: 4 },
];

const MORE: readonly Variant[] = [
  { name: 'lowrank 63 %', structure: 'lowrank', ratio: 0.63 },
  { name: 'blockdense 63 %', structure: 'blockdense', ratio: 0.63 },
  { name: 'blockshuffle B=2', structure: 'blockshuffle', nblocks: 2 },
  { name: 'blockshuffle B=8', structure: 'blockshuffle', nblocks: 8 },
];

export const variants = (full: boolean): readonly Variant[] => (full ? [...COMMON, ...MORE] : COMMON);

/** The 32 % variants and dense: what whole models are measured with. */
export const MODEL_VARIANTS = COMMON;

export interface LayerSize {
  readonly variant: Variant;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Null for a dense layer. */
  readonly v: Shape | null;
  readonly u: Shape;
  readonly dims: LinearDims;
}

function factorShapes(
  { structure, ratio = 1, nblocks = 1 }: Variant,
  inFeatures: number,
  outFeatures: number,
): { v: Shape | null; u: Shape } {
  if (structure === 'dense') return { v: null, u: [outFeatures, inFeatures] };
  if (structure === 'lowrank') {
    const rank = lowRankFor(ratio, inFeatures, outFeatures);
    return { v: [rank, inFeatures], u: [outFeatures, rank] };
  }
  if (structure === 'blockdense') {
    const { rank, nblocks: blocks } = blockDenseFor(ratio, inFeatures, outFeatures);
    return { v: [blocks, rank / blocks, inFeatures / blocks], u: [outFeatures, rank] };
  }
  const width = Math.min(inFeatures, outFeatures) / nblocks;
  return { v: [nblocks, width, inFeatures / nblocks], u: [nblocks, outFeatures / nblocks, width] };
}

export function layerSize(variant: Variant, inFeatures: number, outFeatures: number): LayerSize {
  const { v, u } = factorShapes(variant, inFeatures, outFeatures);
  return { variant, inFeatures, outFeatures, v, u, dims: linearDims('bench', v, u) };
}
