/** The operands of the kernels by name. */
import { OptionError } from '../errors';

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
