import { checkInteger } from '../errors';
import { blockCounts, checkBlocks, checkDivides, divisors, narrower, type StructureDefinition } from './structure';

/**
 * Monarch: a block-diagonal product, a shuffle, another block-diagonal product. v [nblocks, rank/nblocks, in/nblocks],
 * u [nblocks, out/nblocks, rank/nblocks]; with the paper's rank, min(in, out), rank·(in + out)/nblocks parameters.
 */
export const blockshuffle = {
  linear: 'BlockShuffleLinear',
  kernel: 'BlockShuffleLinear',
  tfjsLayer: 'BlockShuffleDense',
  required: ['nblocks'],
  optional: ['rank'],
  inits: ['ortho', 'normal', 'xavier'],
  shapes(where, { rank, nblocks }, features) {
    const { inFeatures, outFeatures } = features;
    const hidden = rank ?? narrower(features);
    checkInteger(`${where}: rank`, hidden);
    const [first, second] = checkBlocks(where, nblocks, true);
    checkDivides(where, first, { inFeatures, rank: hidden });
    checkDivides(where, second, { outFeatures, rank: hidden });
    return {
      v: [first, hidden / first, inFeatures / first],
      u: [second, outFeatures / second, hidden / second],
    };
  },
  sizes(dims) {
    const nblocks = blockCounts(dims.sizes[0]!, dims.sizes[3]!);
    return dims.hidden === narrower(dims) ? { nblocks } : { rank: dims.hidden, nblocks };
  },
  choices: ({ inFeatures, outFeatures }) => ({
    all: divisors(inFeatures)
      .filter((count) => outFeatures % count === 0)
      .map((nblocks) => ({ nblocks })),
    words: 'block counts that divide both widths',
  }),
} as const satisfies StructureDefinition;
