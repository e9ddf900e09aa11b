/** A small size of every structure, for tests that run all of them: a structure without a row does not compile. */
import type { FfnStructure } from '../../lib/nn';
import {
  byStructure,
  chooseLayer,
  type FactorShapes,
  type Sizes,
  STRUCTURE_NAMES,
  type Structure,
} from '../../lib/structures';

/** For widths that are multiples of 6. */
export const SMALL: Readonly<Record<Structure, Sizes>> = {
  dense: {},
  lowrank: { rank: 5 },
  blockdense: { rank: 6, nblocks: 3 },
  blockshuffle: { nblocks: 3 },
  btt: { rank: 2, nblocks: [2, 3] },
};

/** All but dense. */
export const STRUCTURED = STRUCTURE_NAMES.filter((name): name is Exclude<Structure, 'dense'> => name !== 'dense');

/** Feedforward networks of those sizes by the names of their structures. */
export const SMALL_FFN = byStructure((structure): FfnStructure => ({ structure, ...SMALL[structure] }));

export const smallShapes = (structure: Structure, inFeatures: number, outFeatures: number): FactorShapes =>
  chooseLayer('test', structure, { inFeatures, outFeatures, ...SMALL[structure] });
