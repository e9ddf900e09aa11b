/** Activations between the two factors of a layer: u·σ(v x), as in CoLA (Liu et al. 2025). */
import { checkChoice, OptionError } from '../errors';
import { ACTIVATIONS, type Activation } from './activation';

/** Every activation of one value. */
export type InnerActivation = Exclude<Activation, 'swiglu'>;

export const INNER_ACTIVATIONS = ACTIVATIONS.filter((name): name is InnerActivation => name !== 'swiglu');

/** @throws {OptionError} for an unknown one, and for any of a dense layer, which does not have two factors. */
export function checkInnerActivation(where: string, value: unknown, dense: boolean): asserts value is InnerActivation {
  if (dense && value !== 'none') throw new OptionError(`${where}: innerActivation`, 'none for dense', value);
  checkChoice(`${where}: innerActivation`, value, INNER_ACTIVATIONS);
}

/** @throws {OptionError} when factors with an activation between them should be merged into one matrix. */
export function checkMergeable(where: string, innerActivation: InnerActivation): void {
  if (innerActivation !== 'none')
    throw new OptionError(`${where}: innerActivation`, "'none' for a layer that is one matrix", innerActivation);
}
