/**
 * The list of all structures. A new one is a file in this folder and its name here: layers, raw kernels, TensorFlow.js,
 * command line, benchmarks and tests loop over this list.
 */
import { checkChoice, checkInteger, checkNumber, OptionError } from '../errors';
import { checkInnerActivation, type InnerActivation } from '../ops/inner_activation';
import { numel } from '../sizes';
import { blockdense } from './block_dense';
import { blockshuffle } from './block_shuffle';
import { btt } from './btt';
import { dense } from './dense';
import { lowrank } from './low_rank';
import type { FactorShapes, Features, Sizes, StructureDefinition } from './structure';

export type { BlockCounts, FactorShapes, Features, Init, Sizes, StructureDefinition } from './structure';

/** By their names in options, checkpoints and the command line. */
const ALL = { dense, lowrank, blockdense, blockshuffle, btt };

/** The structures that a linear layer may have. */
export type Structure = keyof typeof ALL;

export const DEFINITIONS: Readonly<Record<Structure, StructureDefinition>> = ALL;

/** The names of all structures. */
export const STRUCTURE_NAMES = Object.keys(ALL) as Structure[];

/** A value for each structure. */
export const byStructure = <T>(of: (name: Structure) => T): Record<Structure, T> =>
  Object.fromEntries(STRUCTURE_NAMES.map((name) => [name, of(name)])) as Record<Structure, T>;

/** Either sizes, or a ratio that chooses them. */
export interface SizeOptions extends Features, Sizes {
  /** Instead of the sizes: the part of the dense parameters to keep, 0 < ratio <= 1. */
  readonly ratio?: number;
  /** Between the two factors, u·σ(v x); then they are no longer a single matrix. Default: none. */
  readonly innerActivation?: InnerActivation;
}

/** Factors with known sizes. */
export interface ChosenLayer extends FactorShapes {
  /** Why these sizes, if a ratio chose them. */
  readonly why?: string;
}

/** @throws {OptionError} */
export function checkStructure(where: string, value: unknown): asserts value is Structure {
  checkChoice(where, value, STRUCTURE_NAMES);
}

/** Weights, without the bias. */
export const parametersOf = ({ v, u }: FactorShapes): number => (v === null ? 0 : numel(v)) + numel(u);

/**
 * Sizes and shapes of a layer. With `ratio`: the published sizes of 0.63 and 0.32, or the allowed sizes whose
 * parameters are nearest to that part of the dense layer's, and never more than the dense layer has.
 * @throws {OptionError} for features, sizes or a ratio that do not fit; messages begin with `where`.
 */
export function chooseLayer(where: string, structure: Structure, options: SizeOptions): ChosenLayer {
  checkInteger(`${where}: inFeatures`, options.inFeatures);
  checkInteger(`${where}: outFeatures`, options.outFeatures);
  checkGiven(where, structure, options);
  checkInnerActivation(where, options.innerActivation ?? 'none', structure === 'dense');
  return options.ratio === undefined
    ? DEFINITIONS[structure].shapes(where, options, options)
    : forRatio(where, structure, options.ratio, options);
}

/** @throws {OptionError} for options that the structure does not have, and unless either sizes or a ratio are given. */
function checkGiven(where: string, structure: Structure, options: SizeOptions): void {
  const { required, optional } = DEFINITIONS[structure];
  const own = [...required, ...optional];
  for (const option of ['rank', 'nblocks', 'ratio'] as const)
    if (options[option] !== undefined && !(option === 'ratio' ? required.length > 0 : own.includes(option)))
      throw new OptionError(`${where}: ${option}`, `none for ${structure}`, options[option]);
  const given = own.filter((option) => options[option] !== undefined);
  if (options.ratio !== undefined ? given.length > 0 : required.some((option) => !given.includes(option)))
    throw new OptionError(
      where,
      `either ratio or ${required.join(' and ')}`,
      [...given, ...(options.ratio === undefined ? [] : ['ratio'])].join(' and ') || 'none of them',
    );
}

function forRatio(where: string, structure: Structure, ratio: number, features: Features): ChosenLayer {
  const definition = DEFINITIONS[structure];
  checkNumber(`${where}: ratio`, ratio, 0, 1);
  if (ratio === 0) throw new OptionError(`${where}: ratio`, 'a number above 0', ratio);
  const published = definition.published?.(ratio, features);
  if (published) return { ...definition.shapes(where, published, features), why: `the published size of ${ratio}` };
  const { inFeatures, outFeatures } = features;
  let best: FactorShapes | null = null;
  let least = Number.POSITIVE_INFINITY;
  const { all, words } = definition.choices(features);
  for (const sizes of all) {
    const shapes = definition.shapes(where, sizes, features);
    const kept = parametersOf(shapes) / (inFeatures * outFeatures);
    const distance = Math.abs(kept - ratio);
    if (kept <= 1 && distance < least) [best, least] = [shapes, distance];
  }
  if (best) return { ...best, why: `nearest to ${ratio} among ${words}` };
  const expected = `widths at which ${structure} has sizes within dense (they are ${inFeatures} and ${outFeatures})`;
  throw new OptionError(`${where}: ratio`, expected, ratio);
}
