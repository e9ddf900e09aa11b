/** What a layer is, as plain data, and the shapes of its arrays. */
import { formatShape, OptionError, ShapeError } from '../errors';
import { type Activation, activatedFeatures, checkActivation } from '../ops/activation';
import type { InnerActivation } from '../ops/inner_activation';
import { type LinearDims, linearDims } from '../ops/linear_dims';
import { isObject } from '../options';
import { checkedShape, numel, type Shape } from '../sizes';
import { checkStructure, chooseLayer, type FactorShapes, type SizeOptions, type Structure } from '../structures';

/**
 * A dense or structured linear layer: outFeatures are those before the activation (swiglu halves them). docs/structures.md
 * says which sizes a structure has; `ratio` may stand in their place.
 */
export interface LinearSpec extends SizeOptions {
  /** Which structure the matrix has. */
  readonly structure: Structure;
  /** Default: none. */
  readonly activation?: Activation;
}

/**
 * Any layer of the family, by its factors: v [K, q, p] or [rank, in], null for a dense layer; u [L, s, r] or [out,
 * rank].
 */
export interface FactorSpec extends FactorShapes {
  /** Between the factors: u·σ(v x). Default: none. */
  readonly innerActivation?: InnerActivation;
  /** Default: none. */
  readonly activation?: Activation;
}

/** What a feedforward network is. */
export interface FeedForwardSpec {
  /** For swiglu its outFeatures are twice the inFeatures of fc2: the first half is gated by the second. */
  readonly fc1: Omit<LinearSpec, 'activation'> | Omit<FactorSpec, 'activation'>;
  /** Takes the features that the activation leaves. */
  readonly fc2: Omit<LinearSpec, 'activation'> | Omit<FactorSpec, 'activation'>;
  /** Applied between the layers. */
  readonly activation: Activation;
}

/** Shapes of a layer's weights; v is null for a dense layer, whose weight is u. */
export interface LinearShapes extends FactorShapes {
  /** [outFeatures]. */
  readonly bias: Shape;
  /** [outFeatures, inFeatures]. */
  readonly guide: Shape;
}

export interface ResolvedLinear {
  readonly dims: LinearDims;
  readonly shapes: LinearShapes;
  readonly activation: Activation;
  /** Features of y. */
  readonly features: number;
}

/** @throws {OptionError | ShapeError} naming what does not fit. */
export function resolveLinear(where: string, spec: LinearSpec | FactorSpec): ResolvedLinear {
  if (spec === null || typeof spec !== 'object') throw new OptionError(where, 'a specification of a layer', spec);
  const { activation = 'none' } = spec;
  checkActivation(`${where}: activation`, activation);
  const { v, u } = 'u' in spec ? checkFactors(where, spec) : factorsOf(where, spec);
  const dims = linearDims(where, v, u, spec.innerActivation);
  const { inFeatures, outFeatures } = dims;
  if (activation === 'swiglu' && outFeatures % 2 !== 0)
    throw new ShapeError(where, 'an even number of output features for swiglu', String(outFeatures));
  return {
    dims,
    shapes: frozenShapes({ v, u, bias: [outFeatures], guide: [outFeatures, inFeatures] }),
    activation,
    features: activatedFeatures(activation, outFeatures),
  };
}

/** Copies that nobody can change: the lengths of arrays are checked against them. */
const frozenShapes = ({ v, u, bias, guide }: LinearShapes): LinearShapes => {
  const frozen = (shape: Shape): Shape => Object.freeze([...shape]);
  return Object.freeze({ v: v && frozen(v), u: frozen(u), bias: frozen(bias), guide: frozen(guide) });
};

/** Both layers of a feedforward network. @throws {OptionError | ShapeError} naming what does not fit. */
export function resolveFeedForward(where: string, spec: FeedForwardSpec): Record<'fc1' | 'fc2', ResolvedLinear> {
  if (spec === null || typeof spec !== 'object') throw new OptionError(where, 'a specification of a network', spec);
  checkActivation(`${where}: activation`, spec.activation);
  for (const name of ['fc1', 'fc2'] as const)
    if (!isObject(spec[name])) throw new OptionError(`${where}: ${name}`, 'a specification of a layer', spec[name]);
  const fc1 = resolveLinear(`${where}: fc1`, { ...spec.fc1, activation: spec.activation });
  const fc2 = resolveLinear(`${where}: fc2`, { ...spec.fc2, activation: 'none' });
  if (fc2.dims.inFeatures !== fc1.features)
    throw new ShapeError(`${where}: fc2`, `${fc1.features} input features`, String(fc2.dims.inFeatures));
  return { fc1, fc2 };
}

function checkFactors(where: string, { v, u }: FactorSpec): FactorShapes {
  return { v: v === null ? null : checkFactor(`${where}: v`, v), u: checkFactor(`${where}: u`, u) };
}

function checkFactor(where: string, shape: Shape): Shape {
  const checked = checkedShape(where, shape);
  if (numel(checked) === 0) throw new ShapeError(where, 'sizes of at least 1', formatShape(checked));
  return checked;
}

function factorsOf(where: string, spec: LinearSpec): FactorShapes {
  checkStructure(`${where}: structure`, spec.structure);
  return chooseLayer(where, spec.structure, spec);
}
