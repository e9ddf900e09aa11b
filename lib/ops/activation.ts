/** Activations that the linear kernels apply when they store their results. */
import { checkChoice } from '../errors';

/** Those of native/codes.def. */
export const ACTIVATIONS = ['none', 'gelu', 'silu', 'relu', 'swiglu'] as const;

/**
 * Functions that linear layers apply to their result. `swiglu` is silu(first half) · second half, and halves the
 * features.
 */
export type Activation = (typeof ACTIVATIONS)[number];

/** The default of a feedforward network. */
export const FFN_ACTIVATION = 'gelu';

/** @throws {OptionError} */
export function checkActivation(where: string, value: unknown): asserts value is Activation {
  checkChoice(where, value, ACTIVATIONS);
}

/** Features after the activation of `features` before it: SwiGLU halves them. */
export const activatedFeatures = (activation: Activation, features: number): number =>
  activation === 'swiglu' ? features / 2 : features;
