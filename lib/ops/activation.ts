/** Activations that the linear kernels fuse into their last store. */
import { checkChoice } from '../errors';

export type Activation = 'none' | 'gelu' | 'silu' | 'relu' | 'swiglu';

/** The kernels' numbers, see native/kernels.def. */
export const ACTIVATION_CODES: Readonly<Record<Activation, number>> = { none: 0, gelu: 1, silu: 2, relu: 3, swiglu: 4 };

/** Of a feedforward network where none is given. */
export const FFN_ACTIVATION = 'gelu';

export const ACTIVATIONS = Object.keys(ACTIVATION_CODES) as Activation[];

/** @throws {OptionError} */
export function checkActivation(where: string, value: unknown): asserts value is Activation {
  checkChoice(where, value, ACTIVATIONS);
}

/** Features after the activation of `features` before it: SwiGLU halves them. */
export const activatedFeatures = (activation: Activation, features: number): number =>
  activation === 'swiglu' ? features / 2 : features;
