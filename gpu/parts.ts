/** The parts of gpu/one_of_each.ts, for scripts that run it under a tool without loading the addon themselves. */
export const PARTS = [
  'dense',
  'lowrank',
  'blockdense',
  'blockshuffle',
  'interleaved',
  'network',
  'attention',
  'norm',
  'float32',
  'optimizer',
  'training',
  'decoding',
] as const;

export type Part = (typeof PARTS)[number];

/** The text before a part's name when it is done. */
export const DONE = 'done: ';
