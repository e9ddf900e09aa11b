/** What a suite gets: the options, the rivals, and where results go. */
import type { Isa } from '../../lib/device';
import type { Rival } from '../rivals/rival';
import type { Phase } from './problem';
import type { Result } from './results';
import type { SamplingOptions } from './sampling';
import { BFLOAT16_ON_CPU, ON_CPU, type Placement, type Precision, usualPrecisions } from './side';

/** Which of the cases to run; an absent filter does not restrict. */
export interface Filters {
  readonly op?: readonly string[];
  /** By the name's beginning: 'lowrank', 'lowrank 32 %'. */
  readonly structure?: readonly string[];
  readonly shape?: readonly string[];
  readonly tokens?: readonly number[];
  readonly phase?: readonly Phase[];
  readonly precisions?: readonly Precision[];
}

export interface Context {
  readonly full: boolean;
  readonly filters: Filters;
  readonly sampling: SamplingOptions;
  readonly threads: readonly number[];
  readonly isas: readonly Isa[];
  readonly rivals: readonly Rival[];
  /** Where ours is measured besides the CPU. */
  readonly placements: readonly Placement[];
  add(results: readonly Result[]): void;
  log(line: string): void;
}

const passes = <T>(wanted: readonly T[] | undefined, value: T): boolean =>
  wanted === undefined || wanted.includes(value);

export const wantsOp = ({ filters }: Context, op: string): boolean => passes(filters.op, op);
export const wantsPhase = ({ filters }: Context, phase: Phase): boolean => passes(filters.phase, phase);

/** Token counts: those requested, or the suite's own. */
export const tokenCounts = ({ filters }: Context, own: readonly number[]): readonly number[] => filters.tokens ?? own;

/** Precisions: those requested, or the suite's own. */
export const precisions = ({ filters }: Context, own = usualPrecisions()): readonly Precision[] =>
  filters.precisions ?? own;

/** Where, and in which type, ours is measured. */
export function ourPlacements(context: Context): readonly Placement[] {
  const wanted = precisions(context);
  const elsewhere = context.placements.filter(({ dtype }) => passes(context.filters.precisions, dtype));
  return [...[ON_CPU, BFLOAT16_ON_CPU].filter(({ dtype }) => wanted.includes(dtype)), ...elsewhere];
}

/** Shapes as [in, out]: those requested, or the suite's own. @throws {Error} for a text that is not like 768x3072. */
export function shapes({ filters }: Context, own: readonly (readonly [number, number])[]) {
  if (filters.shape === undefined) return own;
  return filters.shape.map((shape): readonly [number, number] => {
    const [, inFeatures, outFeatures] = shape.match(/^(\d+)x(\d+)$/) ?? [];
    if (inFeatures === undefined || outFeatures === undefined)
      throw new Error(`--shape: ${shape} is not like 768x3072`);
    return [Number(inFeatures), Number(outFeatures)];
  });
}

/** The variants that the filter names; dense always stays, because ratios need it. */
export function selected<V extends { readonly name: string }>({ filters }: Context, all: readonly V[]): readonly V[] {
  const { structure } = filters;
  return all.filter(({ name }) => name === 'dense' || !structure || structure.some((s) => name.startsWith(s)));
}
