/** The operands of the kernels by name, and what a layer is, from the shapes of its factors. */
import { formatShape, OptionError, ShapeError } from '../errors';
import type { LinearSpec } from '../functional/spec';
import type { Activation } from '../ops/activation';
import { linearDims } from '../ops/linear_dims';
import type { Shape } from '../tensor';

/** One layer's operands; `T` is a tensor, its shape, its memory. */
export interface LayerOperands<T> {
  /** First factor [rank, in] or [K, q, p]; null for a dense layer. */
  readonly v: T | null;
  /** Second factor [out, rank] or [L, s, r], or the dense weight [out, in]. */
  readonly u: T;
  /** [out]. */
  readonly bias: T | null;
  /** Dense guide [out, in]. */
  readonly guide: T | null;
}

export const LAYER_OPERANDS = ['v', 'u', 'bias', 'guide'] as const;

/** Values under the names of operands. */
export type Named<T> = ReadonlyMap<string, T>;

export const named = <T>(names: readonly string[], values: readonly T[]): Named<T> =>
  new Map(names.flatMap((name, i): [string, T][] => (i < values.length ? [[name, values[i]!]] : [])));

/** @throws {OptionError} when it is not there. */
export function operand<T>(operands: Named<T>, name: string): T {
  const value = operands.get(name);
  if (value === undefined) throw new OptionError(`tfjs: ${name}`, 'this operand', 'none');
  return value;
}

/** The operands of a layer among all; `suffix` 1 or 2 says which layer of a feedforward network. */
export const layerOperands = <T>(operands: Named<T>, suffix: '' | '1' | '2' = ''): LayerOperands<T> => ({
  v: operands.get(`v${suffix}`) ?? null,
  u: operand(operands, `u${suffix}`),
  bias: operands.get(`bias${suffix}`) ?? null,
  guide: operands.get(`guide${suffix}`) ?? null,
});

/** Pairs of name and tensor in the order in which a kernel gets them, without those left out. */
export const listLayer = <T>(layer: LayerOperands<T>, suffix: '' | '1' | '2' = ''): [string, T][] =>
  LAYER_OPERANDS.flatMap((name): [string, T][] => {
    const value = layer[name];
    return value === null ? [] : [[`${name}${suffix}`, value]];
  });

/** The layer that factors of these shapes make. @throws {ShapeError} */
export function specOf(where: string, v: Shape | null, u: Shape, activation: Activation): LinearSpec {
  const { inFeatures, outFeatures, hidden } = linearDims(where, v, u);
  const common = { inFeatures, outFeatures, activation };
  if (v === null) return { ...common, structure: 'dense' };
  if (v.length === 2 && u.length === 2) return { ...common, structure: 'lowrank', rank: hidden };
  if (v.length === 3 && u.length === 2) return { ...common, structure: 'blockdense', rank: hidden, nblocks: v[0]! };
  if (v.length === 3) return { ...common, structure: 'blockshuffle', rank: hidden, nblocks: [v[0]!, u[0]!] };
  throw new ShapeError(where, 'u of [out, rank] for v of two dimensions', formatShape(u));
}
