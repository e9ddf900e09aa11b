import {
  blockCounts,
  checkBlocks,
  checkDivides,
  checkRank,
  divisors,
  multiples,
  type StructureDefinition,
} from './structure';

/** The divisor of `features` that is nearest to their square root; of two equally near, the smaller. */
function nearRoot(features: number): number {
  const distance = (count: number) => Math.max(count ** 2 / features, features / count ** 2);
  return divisors(features).reduce((best, count) => (distance(count) < distance(best) ? count : best));
}

/**
 * Block tensor train of two factors (Qiu et al. 2024, "Compute Better Spent"): Monarch with a free rank. With blocks
 * [k, l], v [k, l·rank, in/k], u [l, out/l, k·rank], rank·(l·in + k·out) parameters: each block of v passes `rank`
 * features to each block of u. As in the paper, the number of blocks is about their width.
 */
export const btt = {
  linear: 'BttLinear',
  kernel: 'BttLinear',
  tfjsLayer: 'BttDense',
  required: ['rank'],
  optional: ['nblocks'],
  inits: ['ortho', 'normal', 'xavier'],
  shapes(where, { rank, nblocks }, { inFeatures, outFeatures }) {
    const [k, l] = checkBlocks(where, nblocks ?? [nearRoot(inFeatures), nearRoot(outFeatures)], true);
    checkDivides(where, k, { inFeatures });
    checkDivides(where, l, { outFeatures });
    const [p, s] = [inFeatures / k, outFeatures / l];
    checkRank(where, rank, Math.min(p, s));
    return { v: [k, l * rank, p], u: [l, s, k * rank] };
  },
  sizes({ hidden, sizes }) {
    const [k, l] = [sizes[0]!, sizes[3]!];
    return { rank: hidden / (k * l), nblocks: blockCounts(k, l) };
  },
  choices({ inFeatures, outFeatures }) {
    const [k, l] = [nearRoot(inFeatures), nearRoot(outFeatures)];
    const all = multiples(1, Math.min(inFeatures / k, outFeatures / l)).map((rank) => ({ rank }));
    return { all, words: `ranks of ${k} and ${l} blocks` };
  },
} as const satisfies StructureDefinition;
