import {
  checkBlocks,
  checkDivides,
  checkRank,
  type Features,
  multiples,
  narrower,
  type PublishedRanks,
  publishedRank,
  rankStep,
  type StructureDefinition,
} from './structure';

/** As in the paper: 4 blocks for widths that are powers of two, 2 for others, where they divide inFeatures. */
function preferredBlocks(features: Features): 1 | 2 | 4 {
  const preferred = Number.isInteger(Math.log2(narrower(features))) ? ([4, 2] as const) : ([2] as const);
  return preferred.find((nblocks) => features.inFeatures % nblocks === 0) ?? 1;
}

const PUBLISHED: Readonly<Record<1 | 2 | 4, PublishedRanks>> = {
  1: {},
  2: { 0.63: [2, 3], 0.32: [1, 3] },
  4: { 0.63: [3, 4], 0.32: [3, 8] },
};

/**
 * A block-diagonal product, then a dense one: v [nblocks, rank/nblocks, in/nblocks], u [out, rank], rank·(out + in/nblocks)
 * parameters. The paper's sizes give a layer and its transpose, the two of a network, one rank: its ratio is that of both.
 */
export const blockdense = {
  linear: 'BlockDenseLinear',
  kernel: 'BlockDenseLinear',
  tfjsLayer: 'BlockDense',
  required: ['rank', 'nblocks'],
  optional: [],
  inits: ['ortho', 'normal', 'xavier'],
  shapes(where, { rank, nblocks }, features) {
    const { inFeatures, outFeatures } = features;
    checkRank(where, rank, narrower(features));
    const [count] = checkBlocks(where, nblocks, false);
    checkDivides(where, count, { inFeatures, rank });
    return { v: [count, rank / count, inFeatures / count], u: [outFeatures, rank] };
  },
  sizes: ({ hidden, sizes }) => ({ rank: hidden, nblocks: sizes[0]! }),
  choices(features) {
    const nblocks = preferredBlocks(features);
    const step = Math.max(nblocks, rankStep(features));
    const all = multiples(step, narrower(features)).map((rank) => ({ rank, nblocks }));
    return { all, words: `ranks in steps of ${step}, with ${nblocks} blocks` };
  },
  published(ratio, features) {
    const nblocks = preferredBlocks(features);
    const rank = publishedRank(ratio, features, PUBLISHED[nblocks], nblocks);
    return rank === null ? null : { rank, nblocks };
  },
} as const satisfies StructureDefinition;
