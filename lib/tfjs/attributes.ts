/** The attributes of the kernels: plain values, as they also stand in a graph model's nodes. */
import { OptionError } from '../errors';
import { type Activation, checkActivation } from '../ops/activation';
import { checkInnerActivation, type InnerActivation } from '../ops/inner_activation';
import { type ComputeDType, checkComputeDType } from './compute_dtype';
import type { NamedAttrMap } from './tfjs';

/** Of one layer, or of the two of a feedforward network. */
export interface LayerAttributes {
  /** Weight of the guide. */
  readonly alpha: number;
  readonly innerActivation: InnerActivation;
}

/** What is computed, whatever the operands. */
export interface CallAttributes {
  readonly activation: Activation;
  readonly layers: readonly [LayerAttributes, LayerAttributes];
  readonly computeDtype: ComputeDType;
}

export interface KernelAttributes extends CallAttributes {
  /** Names of the inputs, in their order. */
  readonly operands: readonly string[];
  /** Whether to return what the gradient needs, too. */
  readonly training: boolean;
}

/** As they stand among a kernel's and a node's attributes, and back. */
export const plainAttributes = ({ activation, layers: [first, second], computeDtype }: CallAttributes) => ({
  activation,
  computeDtype,
  alpha1: first.alpha,
  alpha2: second.alpha,
  innerActivation1: first.innerActivation,
  innerActivation2: second.innerActivation,
});

/** @throws {OptionError} */
export function parseCall(where: string, attrs: Readonly<Record<string, unknown>>): CallAttributes {
  const { activation = 'none', computeDtype = 'float32' } = attrs;
  checkActivation(`${where}: activation`, activation);
  checkComputeDType(`${where}: computeDtype`, computeDtype);
  const layer = (index: 1 | 2): LayerAttributes => {
    const { [`alpha${index}`]: alpha = 0, [`innerActivation${index}`]: innerActivation = 'none' } = attrs;
    checkInnerActivation(where, innerActivation, false);
    return { alpha: Number(alpha), innerActivation };
  };
  return { activation, layers: [layer(1), layer(2)], computeDtype };
}

/** @throws {OptionError} */
export function parseAttributes(where: string, attrs: NamedAttrMap = {}): KernelAttributes {
  const { operands, training = true } = attrs;
  if (!Array.isArray(operands) || !operands.every((name) => typeof name === 'string'))
    throw new OptionError(`${where}: operands`, 'the names of the inputs', operands);
  return {
    ...parseCall(where, attrs),
    operands: operands.filter((name) => typeof name === 'string'),
    training: Boolean(training),
  };
}
