import { checkRank, multiples, narrower, publishedRank, rankStep, type StructureDefinition } from './structure';

/** y = (x vᵀ) uᵀ with v [rank, in], u [out, rank]: (in + out)·rank parameters. */
export const lowrank = {
  linear: 'LowRankLinear',
  kernel: 'LowRankLinear',
  tfjsLayer: 'LowRankDense',
  required: ['rank'],
  optional: [],
  inits: ['svd', 'normal', 'xavier', 'ortho'],
  shapes(where, { rank }, features) {
    checkRank(where, rank, narrower(features));
    return { v: [rank, features.inFeatures], u: [features.outFeatures, rank] };
  },
  sizes: ({ hidden }) => ({ rank: hidden }),
  choices(features) {
    const step = rankStep(features);
    return { all: multiples(step, narrower(features)).map((rank) => ({ rank })), words: `ranks in steps of ${step}` };
  },
  published(ratio, features) {
    const rank = publishedRank(ratio, features, { 0.63: [1, 2], 0.32: [1, 4] });
    return rank === null ? null : { rank };
  },
} as const satisfies StructureDefinition;
