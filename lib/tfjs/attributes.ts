/** The attributes of the kernels: plain values, as they also stand in a graph model's nodes. */
import { OptionError } from '../errors';
import { type Activation, checkActivation } from '../ops/activation';
import type { NamedAttrMap } from './tfjs';

export interface KernelAttributes {
  /** Names of the inputs, in their order. */
  readonly operands: readonly string[];
  readonly activation: Activation;
  /** Weights of the guides, of one layer or of two. */
  readonly alphas: readonly [number, number];
  /** Whether to return what the gradient needs, too. */
  readonly training: boolean;
}

/** @throws {OptionError} */
export function parseAttributes(where: string, attrs: NamedAttrMap | undefined): KernelAttributes {
  const { operands, activation = 'none', alpha1 = 0, alpha2 = 0, training = true } = attrs ?? {};
  checkActivation(`${where}: activation`, activation);
  if (!Array.isArray(operands) || !operands.every((name) => typeof name === 'string'))
    throw new OptionError(`${where}: operands`, 'the names of the inputs', operands);
  return {
    operands: operands.filter((name) => typeof name === 'string'),
    activation,
    alphas: [Number(alpha1), Number(alpha2)],
    training: Boolean(training),
  };
}
