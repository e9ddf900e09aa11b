/** A random order of many rows that needs no memory for each of them. */
import { Generator } from '../random';

const ROUNDS = 6;

/** Spreads every bit of a 32-bit number over all others (the finaliser of MurmurHash3). */
function mix(x: number): number {
  let h = x ^ (x >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * A permutation of 0 .. count - 1 as a function, drawn from the seed, another one for each `epoch`. A Feistel network
 * permutes the numbers of twice as many bits as half the count takes; what falls outside is permuted again until it
 * falls inside (cycle walking), at most four times on average.
 * @param count from 1 to 2^52.
 */
export function permutation(count: number, seed: number, epoch: number): (index: number) => number {
  const generator = new Generator(seed, epoch * ROUNDS);
  const keys = Array.from({ length: ROUNDS }, () => generator.nextInt(2 ** 32));
  let half = 1;
  while (half * half < count) half *= 2;
  const permuteAll = (index: number): number => {
    let [high, low] = [Math.floor(index / half), index % half];
    for (const key of keys) [high, low] = [low, (high ^ mix(low ^ key)) & (half - 1)];
    return high * half + low;
  };
  return (index) => {
    let at = index;
    do at = permuteAll(at);
    while (at >= count);
    return at;
  };
}
