/** The registry of structures: a new one is a class and a line here; models, tests and benchmarks loop over it. */
import { checkChoice } from '../errors';
import { BlockDenseLinear } from './block_dense';
import { BlockShuffleLinear } from './block_shuffle';
import { Linear } from './linear';
import type { LinearLayer, LinearLayerOptions, Structure } from './linear_layer';
import { LowRankLinear } from './low_rank';

export const STRUCTURES: Readonly<Record<Structure, (options: LinearLayerOptions) => LinearLayer>> = {
  dense: (options) => new Linear(options),
  lowrank: (options) => new LowRankLinear(options),
  blockdense: (options) => new BlockDenseLinear(options),
  blockshuffle: (options) => new BlockShuffleLinear(options),
};

export const STRUCTURE_NAMES = Object.keys(STRUCTURES) as Structure[];

/** @throws {OptionError} */
export function checkStructure(where: string, value: unknown): asserts value is Structure {
  checkChoice(where, value, STRUCTURE_NAMES);
}

/** A layer of the named structure. @throws {OptionError} for sizes that the structure does not allow. */
export function createLinear(structure: Structure, options: LinearLayerOptions): LinearLayer {
  checkStructure('createLinear: structure', structure);
  return STRUCTURES[structure](options);
}
