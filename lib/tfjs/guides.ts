/** The schedule of self-guided training as a callback of `model.fit`, and the hand-over at its end. */
import { Guidance, type GuidanceOptions } from '../nn';
import { isSelfGuided, layersOf, type SelfGuidedLayer } from './layers/self_guided';
import type { LayersModel } from './tfjs';

/** What `fit` takes among its callbacks. */
export interface GuidanceCallback {
  /** The schedule. */
  readonly guidance: Guidance;
  /** Called by tfjs. */
  onTrainBegin(): void;
  /** Called by tfjs: a step was taken. */
  onBatchEnd(): void;
}

const guided = (model: LayersModel): SelfGuidedLayer[] => [...layersOf(model)].filter(isSelfGuided);

/**
 * Advances alpha after every batch, and releases the guides of `model` after `steps` of them. One callback serves several
 * calls of `fit`: the count goes on.
 */
export function guidanceCallback(model: LayersModel, options: GuidanceOptions): GuidanceCallback {
  const guidance = new Guidance(options);
  return {
    guidance,
    onTrainBegin() {
      for (const layer of guided(model)) if (!layer.released) layer.guidance = guidance;
    },
    onBatchEnd() {
      if (!guidance.finished && guidance.advance()) releaseGuides(model);
    },
  };
}

/** A slot of a tfjs optimizer: a moment of one variable. */
interface Slot {
  readonly originalName: string;
  readonly variable: { dispose(): void };
}

const isSlot = (value: unknown): value is Slot =>
  value !== null && typeof value === 'object' && 'originalName' in value && 'variable' in value;

/** tfjs's optimizers keep moments in lists by the position of the variable: those of the others have to move up. */
function forget(optimizer: object, names: readonly string[]): void {
  const belongs = (slot: Slot) => names.some((name) => slot.originalName.startsWith(`${name}/`));
  for (const slots of Object.values(optimizer)) {
    if (!Array.isArray(slots)) continue;
    for (let i = slots.length - 1; i >= 0; i--) {
      const slot: unknown = slots[i];
      if (!isSlot(slot) || !belongs(slot)) continue;
      slot.variable.dispose();
      slots.splice(i, 1);
    }
  }
}

/** Hand-over: frees all guides of a model and what its optimizer holds for them; the layers go on alone. */
export function releaseGuides(model: LayersModel): void {
  const names = guided(model).flatMap((layer) => layer.release());
  if (names.length === 0) return;
  if (model.optimizer) forget(model.optimizer, names);
  // `compile` made a list of the variables, which `fit` goes on to use; a sequential model leaves both to a model inside it.
  const inner: unknown = Reflect.get(model, 'model');
  for (const one of [model, inner])
    if (one !== null && typeof one === 'object' && model.optimizer)
      Reflect.set(one, 'collectedTrainableWeights', model.trainableWeights);
}
