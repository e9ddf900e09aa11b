/**
 * The description of a structure of linear layers, as data: names, options, sizes and shapes. Nothing here loads the
 * native binary. The arithmetic is the same for all (native/kernels.def): factors v [K, q, p] and u [L, s, r] with K·q
 * = L·r.
 */
import { checkInteger, OptionError } from '../errors';
import type { LinearDims } from '../ops/linear_dims';
import type { Shape } from '../tensor';

/** A number of blocks for both factors, or one for v and one for u. */
export type BlockCounts = number | readonly [number, number];

/** All sizes that structures may have; each structure says which of them it uses. */
export interface Sizes {
  /** Width between the factors; what it means exactly depends on the structure (docs/structures.md). */
  readonly rank?: number;
  /** Blocks of the block-diagonal factors. */
  readonly nblocks?: BlockCounts;
}

/** Widths of a linear layer. */
export interface Features {
  /** Features of the input. */
  readonly inFeatures: number;
  /** Features of the result, before an activation. */
  readonly outFeatures: number;
}

/** v is null for a dense layer, whose weight is u. A single block may be written without its dimension of 1. */
export interface FactorShapes {
  /** First factor: [nblocks, rows, columns], or [rows, columns] where it is one block. */
  readonly v: Shape | null;
  /** Second factor, or the dense weight [outFeatures, inFeatures]. */
  readonly u: Shape;
}

/**
 * How weights start (Wei et al. 2024, section 4 and appendix). Biases start at 0, norms at weight 1 and bias 0.
 * - `normal`: N(0, 0.02²).
 * - `xavier`: N(0, 1/fan_in), fan_in the last dimension of the factor.
 * - `svd` (two factors of one block): u·v is the best approximation of a dense matrix of the `normal` base.
 * - `ortho`: each block is the orthogonal polar factor of a `normal` draw, so that all its singular values are 1.
 */
export type Init = 'normal' | 'xavier' | 'svd' | 'ortho';

export interface StructureDefinition {
  /** The name of the layer: error messages begin with it. */
  readonly linear: string;
  /** The kernel's name in TensorFlow.js, and so the name of nodes in saved graph models. */
  readonly kernel: string;
  /** The layer class's name in TensorFlow.js, and so its name in saved models. */
  readonly tfjsLayer: string;
  /** The sizes that `ratio` replaces. */
  readonly required: readonly (keyof Sizes)[];
  /** Sizes with a default. */
  readonly optional: readonly (keyof Sizes)[];
  /** The first is the default. */
  readonly inits: readonly [Init, ...Init[]];
  /** Shapes of the factors. @throws {OptionError} that names the size that does not fit, after `where`. */
  shapes(where: string, sizes: Sizes, features: Features): FactorShapes;
  /** The sizes of factors with these dims: the reverse of `shapes`. */
  sizes(dims: LinearDims): Sizes;
  /** The sizes that a ratio chooses among, ascending, and a description of them. */
  choices(features: Features): { readonly all: readonly Sizes[]; readonly words: string };
  /** The published sizes of a ratio, if there are any that fit these features. */
  published?(ratio: number, features: Features): Sizes | null;
}

/** Block counts in their written form: one number if both are the same. */
export const blockCounts = (first: number, second: number): BlockCounts => (first === second ? first : [first, second]);

/** @throws {OptionError} unless `nblocks` is a whole number, or a pair of them where `pairs` are allowed. */
export function checkBlocks(where: string, nblocks: unknown, pairs: boolean): [number, number] {
  if (pairs && Array.isArray(nblocks) && nblocks.length !== 2)
    throw new OptionError(`${where}: nblocks`, 'a number or a pair of numbers', nblocks);
  const [first, second]: unknown[] = pairs && Array.isArray(nblocks) ? nblocks : [nblocks, nblocks];
  checkInteger(`${where}: nblocks`, first);
  checkInteger(`${where}: nblocks`, second);
  return [first, second];
}

/** @throws {OptionError} unless 1 <= rank <= most. */
export function checkRank(where: string, rank: unknown, most: number): asserts rank is number {
  checkInteger(`${where}: rank`, rank);
  if (rank > most) throw new OptionError(`${where}: rank`, `at most ${most}`, rank);
}

/** @throws {OptionError} unless `count` blocks divide all of the named widths. */
export function checkDivides(where: string, count: number, widths: Readonly<Record<string, number>>): void {
  if (Object.values(widths).every((width) => width % count === 0)) return;
  const all = Object.entries(widths).map(([name, width]) => `${name} (${width})`);
  throw new OptionError(`${where}: nblocks`, `a divisor of ${all.join(' and ')}`, count);
}

/** Whole numbers that divide `value`, ascending. */
export const divisors = (value: number): number[] => multiples(1, value).filter((count) => value % count === 0);

/** Multiples of `step` up to `most`. */
export const multiples = (step: number, most: number): number[] =>
  Array.from({ length: Math.floor(most / step) }, (_, i) => (i + 1) * step);

export const narrower = ({ inFeatures, outFeatures }: Features): number => Math.min(inFeatures, outFeatures);

/**
 * Ranks come in whole vectors: multiples of 8. Below a width of 64 the step is a power of two, at most an eighth of the
 * width.
 */
export const rankStep = (features: Features): number =>
  2 ** Math.min(3, Math.max(0, Math.floor(Math.log2(narrower(features) / 8))));

/** Ranks by the ratio that names them, as fractions of the width d. */
export type PublishedRanks = Readonly<Record<number, readonly [numerator: number, denominator: number]>>;

/**
 * The rank in Wei et al. 2024 (table 7) for a ratio. Features must be d → 4d or 4d → d as in the paper's networks, and
 * the rank a multiple of `step`; otherwise null.
 */
export function publishedRank(ratio: number, features: Features, ranks: PublishedRanks, step = 1): number | null {
  const d = narrower(features);
  const [numerator, denominator] = ranks[ratio] ?? [0, 1];
  const rank = (d * numerator) / denominator;
  return rank > 0 && rank % step === 0 && features.inFeatures * features.outFeatures === 4 * d * d ? rank : null;
}
