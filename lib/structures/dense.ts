import type { StructureDefinition } from './structure';

/** y = x Wᵀ, what the others are compared with. */
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
