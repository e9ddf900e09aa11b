/** Ranks and block counts from a ratio of the dense layer's parameters. */
import { checkInteger, checkNumber, OptionError } from '../errors';

/** What a structured layer was given or chose. */
export interface ChosenSizes {
  readonly rank?: number;
  readonly nblocks?: number;
  /** Weights, without the bias. */
  readonly parameters: number;
  /** parameters / (inFeatures · outFeatures). */
  readonly ratio: number;
}

export interface SizeOptions {
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly rank?: number;
  readonly nblocks?: number;
  /** In place of rank and nblocks: the part of the dense parameters to keep, 0 < ratio <= 1. */
  readonly ratio?: number;
}

export function checkFeatures(where: string, { inFeatures, outFeatures }: SizeOptions): void {
  checkInteger(`${where}: inFeatures`, inFeatures);
  checkInteger(`${where}: outFeatures`, outFeatures);
}

export function checkRatio(where: string, ratio: number): void {
  checkNumber(`${where}: ratio`, ratio, Number.MIN_VALUE, 1);
}

/** @throws {OptionError} when both ways of giving the size are used, or neither. */
export function exclusive(where: string, options: SizeOptions, names: readonly ('rank' | 'nblocks')[]): void {
  const given = names.filter((name) => options[name] !== undefined);
  if (options.ratio !== undefined ? given.length > 0 : given.length < names.length)
    throw new OptionError(
      where,
      `either ratio or ${names.join(' and ')}`,
      `ratio ${options.ratio}, ${given.join(', ') || 'nothing else'}`,
    );
}

/**
 * Ranks are multiples of the largest power of two that is at most an eighth of the width: this rule gives every rank of
 * the paper's tables, and whole vectors at small widths.
 */
function roundRank(rank: number, width: number): number {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(width / 8)));
  return Math.min(width, Math.max(step, Math.round(rank / step) * step));
}

/** Parameters (in + out)·rank. */
export function lowRankFor(ratio: number, inFeatures: number, outFeatures: number): number {
  return roundRank((ratio * inFeatures * outFeatures) / (inFeatures + outFeatures), Math.min(inFeatures, outFeatures));
}

/**
 * Block count as in the paper (4 for widths that are powers of two, 2 for others) and the rank at which a layer and its
 * transpose, the two of a feedforward network, together have the ratio: they share one rank.
 */
export function blockDenseFor(
  ratio: number,
  inFeatures: number,
  outFeatures: number,
): { rank: number; nblocks: number } {
  const width = Math.min(inFeatures, outFeatures);
  const preferred = Number.isInteger(Math.log2(width)) ? [4, 2] : [2];
  const rankFor = (nblocks: number) =>
    roundRank((2 * ratio * inFeatures * outFeatures) / ((inFeatures + outFeatures) * (1 + 1 / nblocks)), width);
  const divides = (nblocks: number) => inFeatures % nblocks === 0 && rankFor(nblocks) % nblocks === 0;
  const nblocks = preferred.find(divides) ?? 1;
  return { rank: rankFor(nblocks), nblocks };
}

/**
 * The common divisor of both widths whose parameters min·(in + out)/nblocks come nearest to the ratio.
 * @throws {OptionError} when every divisor keeps more parameters than the dense layer has, as for widths that share none.
 */
export function blockShuffleFor(ratio: number, inFeatures: number, outFeatures: number): number {
  const wanted = (inFeatures + outFeatures) / (ratio * Math.max(inFeatures, outFeatures));
  const width = Math.min(inFeatures, outFeatures);
  const distance = (nblocks: number) => Math.abs(Math.log(nblocks / wanted));
  let best: number | null = null;
  // From the smallest count that keeps at most the dense parameters: (in + out)/nblocks <= max(in, out).
  for (let nblocks = Math.ceil(1 + width / Math.max(inFeatures, outFeatures)); nblocks <= width; nblocks++) {
    if (inFeatures % nblocks !== 0 || outFeatures % nblocks !== 0) continue;
    if (best === null || distance(nblocks) < distance(best)) best = nblocks;
  }
  if (best === null)
    throw new OptionError(
      'BlockShuffleLinear: ratio',
      `widths with a common divisor (they are ${inFeatures} and ${outFeatures})`,
      ratio,
    );
  return best;
}
