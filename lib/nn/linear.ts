/** The layers of the paper as classes; `createLinear` makes one of any structure. */
import { byStructure, checkStructure, type Structure } from '../structures';
import type { Tensor } from '../tensor';
import { LinearLayer, type LinearLayerOptions } from './linear_layer';

/** Dense: y = x Wᵀ + bias. Parameters: `weight` [out, in], `bias` [out]. */
export class Linear extends LinearLayer {
  declare readonly v: null;

  constructor(options: LinearLayerOptions) {
    super('dense', options);
  }

  /** The weight [outFeatures, inFeatures]. */
  get weight(): Tensor {
    return this.u;
  }
}

/** y = (x vᵀ) uᵀ + bias. Parameters: `v` [rank, in], `u` [out, rank], `bias` [out]. */
export class LowRankLinear extends LinearLayer {
  declare readonly v: Tensor;

  constructor(options: LinearLayerOptions) {
    super('lowrank', options);
  }

  /** Width between the factors. */
  get rank(): number {
    return this.dims.hidden;
  }
}

/**
 * A block-diagonal product, then a dense one. Parameters: `v` [nblocks, rank/nblocks, in/nblocks], `u` [out, rank],
 * `bias` [out].
 */
export class BlockDenseLinear extends LinearLayer {
  declare readonly v: Tensor;

  constructor(options: LinearLayerOptions) {
    super('blockdense', options);
  }

  /** Width between the factors. */
  get rank(): number {
    return this.dims.hidden;
  }

  /** Blocks of v. */
  get nblocks(): number {
    return this.v.shape[0]!;
  }
}

/**
 * Monarch: a block-diagonal product, a shuffle, another block-diagonal product. With q = rank/nblocks, rank min(in, out)
 * unless given, parameters: `v` [nblocks, q, in/nblocks], `u` [nblocks, out/nblocks, q], `bias` [out].
 */
export class BlockShuffleLinear extends LinearLayer {
  declare readonly v: Tensor;

  constructor(options: LinearLayerOptions) {
    super('blockshuffle', options);
  }

  /** Blocks of v; u has as many unless a pair was given. */
  get nblocks(): number {
    return this.v.shape[0]!;
  }
}

/** Makes a layer. */
export type LinearFactory = (options: LinearLayerOptions) => LinearLayer;

/** The constructor of each structure. */
export const STRUCTURES: Readonly<Record<Structure, LinearFactory>> = {
  ...byStructure(
    (name): LinearFactory =>
      (options) =>
        new LinearLayer(name, options),
  ),
  dense: (options) => new Linear(options),
  lowrank: (options) => new LowRankLinear(options),
  blockdense: (options) => new BlockDenseLinear(options),
  blockshuffle: (options) => new BlockShuffleLinear(options),
};

/** A layer of the named structure. @throws {OptionError} for sizes that the structure does not allow. */
export function createLinear(structure: Structure, options: LinearLayerOptions): LinearLayer {
  checkStructure('createLinear: structure', structure);
  return STRUCTURES[structure](options);
}
