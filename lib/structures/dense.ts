import type { StructureDefinition } from './structure';

/** y = x Wᵀ, the baseline of the others. */
export const dense = {
  linear: 'Linear',
  kernel: 'Dense',
  tfjsLayer: 'FusedDense',
  required: [],
  optional: [],
  inits: ['normal', 'xavier', 'ortho'],
  shapes: (_, __, { inFeatures, outFeatures }) => ({ v: null, u: [outFeatures, inFeatures] }),
  sizes: () => ({}),
  choices: () => ({ all: [{}], words: 'one size' }),
} as const satisfies StructureDefinition;
