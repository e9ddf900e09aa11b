/** What a layer is, in plain data, and the shapes of its arrays that follow. */
import { checkChoice, checkInteger, OptionError, ShapeError } from '../errors';
import { type Activation, activatedFeatures, checkActivation } from '../ops/activation';
import { type LinearDims, linearDims } from '../ops/linear_dims';
import type { Shape } from '../tensor';

export type Structure = 'dense' | 'lowrank' | 'blockdense' | 'blockshuffle';

/** A dense or structured linear layer. Features and blocks are whole numbers of at least 1. */
export interface LinearSpec {
  readonly structure: Structure;
  readonly inFeatures: number;
  /** Before the activation: swiglu halves them. */
  readonly outFeatures: number;
  /**
   * Width between the factors. Needed for lowrank and blockdense; for blockshuffle by default the smaller of inFeatures and
   * outFeatures; none for dense.
   */
  readonly rank?: number;
  /**
   * Blocks of v for blockdense (dividing inFeatures and rank); blocks of both factors for blockshuffle, or a pair for v and u
   * (the first dividing inFeatures and rank, the second outFeatures and rank).
   */
  readonly nblocks?: number | readonly [number, number];
  /** Default: none. */
  readonly activation?: Activation;
}

/** Shapes of a layer's weights; v is null for a dense layer, whose weight is u. */
export interface LinearShapes {
  readonly v: Shape | null;
  readonly u: Shape;
  readonly bias: Shape;
  readonly guide: Shape;
}

export interface ResolvedLinear {
  readonly dims: LinearDims;
  readonly shapes: LinearShapes;
  readonly activation: Activation;
  /** Features of y. */
  readonly features: number;
}

/** Whole blocks of `features` in `count` parts. @throws {OptionError} */
function split(where: string, name: string, features: number, count: number): number {
  if (features % count !== 0) throw new OptionError(`${where}: nblocks`, `a divisor of ${name} ${features}`, count);
  return features / count;
}

function factors(where: string, spec: LinearSpec): { v: Shape | null; u: Shape } {
  const { structure, inFeatures, outFeatures, nblocks } = spec;
  const refuse = (name: 'rank' | 'nblocks') => {
    if (spec[name] !== undefined) throw new OptionError(`${where}: ${name}`, `none for ${structure}`, spec[name]);
  };
  if (structure === 'dense') {
    refuse('rank');
    refuse('nblocks');
    return { v: null, u: [outFeatures, inFeatures] };
  }
  const rank = structure === 'blockshuffle' ? (spec.rank ?? Math.min(inFeatures, outFeatures)) : spec.rank;
  checkInteger(`${where}: rank`, rank);
  if (structure === 'lowrank') {
    refuse('nblocks');
    return { v: [rank, inFeatures], u: [outFeatures, rank] };
  }
  const pair = structure === 'blockshuffle' && Array.isArray(nblocks) ? nblocks : [nblocks, nblocks];
  if (pair.length !== 2) throw new OptionError(`${where}: nblocks`, 'a number or a pair of numbers', nblocks);
  const [first, second] = pair;
  checkInteger(`${where}: nblocks`, first);
  checkInteger(`${where}: nblocks`, second);
  const v = [first, split(where, 'rank', rank, first), split(where, 'inFeatures', inFeatures, first)];
  if (structure === 'blockdense') return { v, u: [outFeatures, rank] };
  return {
    v,
    u: [second, split(where, 'outFeatures', outFeatures, second), split(where, 'rank', rank, second)],
  };
}

/** @throws {OptionError | ShapeError} naming what does not fit. */
export function resolveLinear(where: string, spec: LinearSpec): ResolvedLinear {
  if (spec === null || typeof spec !== 'object') throw new OptionError(where, 'a specification of a layer', spec);
  checkChoice(`${where}: structure`, spec.structure, ['dense', 'lowrank', 'blockdense', 'blockshuffle']);
  checkInteger(`${where}: inFeatures`, spec.inFeatures);
  checkInteger(`${where}: outFeatures`, spec.outFeatures);
  const activation = spec.activation ?? 'none';
  checkActivation(`${where}: activation`, activation);
  if (activation === 'swiglu' && spec.outFeatures % 2 !== 0)
    throw new ShapeError(where, 'an even number of output features for swiglu', String(spec.outFeatures));
  const { v, u } = factors(where, spec);
  const { inFeatures, outFeatures } = spec;
  return {
    dims: linearDims(where, v, u),
    shapes: { v, u, bias: [outFeatures], guide: [outFeatures, inFeatures] },
    activation,
    features: activatedFeatures(activation, outFeatures),
  };
}
