/** The structures at the sizes of the paper, for any width. */
import { type LinearDims, linearDims } from '../../lib/ops/linear_dims';
import { chooseLayer, STRUCTURE_NAMES, type Structure } from '../../lib/structures';
import type { Shape } from '../../lib/tensor';

/** A structure with its size; `dense` is what the others are compared with. */
export interface Variant {
  readonly name: string;
  readonly structure: Structure;
  /** Part of the dense parameters. */
  readonly ratio?: number;
  /** Instead of it, for blockshuffle. */
  readonly nblocks?: number;
}

export const DENSE: Variant = { name: 'dense', structure: 'dense' };

/** Of blockshuffle by its block counts, of the others by the ratio. */
const at = (percent: number, nblocks: number): Variant[] =>
  STRUCTURE_NAMES.filter((structure) => structure !== 'dense').map((structure) =>
    structure === 'blockshuffle'
      ? { name: `${structure} B=${nblocks}`, structure, nblocks }
      : { name: `${structure} ${percent} %`, structure, ratio: percent / 100 },
  );

const COMMON: readonly Variant[] = [DENSE, ...at(32, 4)];
const EIGHT: Variant = { name: 'blockshuffle B=8', structure: 'blockshuffle', nblocks: 8 };

export const variants = (full: boolean): readonly Variant[] => (full ? [...COMMON, ...at(63, 2), EIGHT] : COMMON);

/** The 32 % variants and dense, for measuring whole models. */
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

export function layerSize(variant: Variant, inFeatures: number, outFeatures: number): LayerSize {
  const { structure, ratio, nblocks } = variant;
  const { v, u } = chooseLayer('bench', structure, { inFeatures, outFeatures, ratio, nblocks });
  return { variant, inFeatures, outFeatures, v, u, dims: linearDims('bench', v, u) };
}
