/** The schedule of self-guided training as a callback of `model.fit`, and the hand-over at its end. */
import { Guidance, type GuidanceOptions } from '../nn';
import type { LayerVariable } from './layers/factor_weights';
import { isSelfGuided, layersOf, type SelfGuidedLayer } from './layers/self_guided';
import { mixCallbacks } from './mixed_callbacks';
import { checkModel, type LayersModel, type Tfjs } from './tfjs';

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
export function guidanceCallback(tf: Tfjs, model: LayersModel, options: GuidanceOptions): GuidanceCallback {
  const guidance = new Guidance(options);
  checkModel('guide', model);
  mixCallbacks(tf, model);
  return {
    guidance,
    onTrainBegin() {
      // A schedule that was restored at its end has nothing to mix in.
      if (guidance.finished) releaseGuides(model);
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

/**
 * tfjs's optimizers keep moments in lists by the position of the variable: those of the others have to move up. The names
 * of the slots say nothing: loaded ones have those of the process that saved them.
 */
function forget(optimizer: object, positions: readonly number[]): void {
  for (const slots of Object.values(optimizer)) {
    if (!Array.isArray(slots)) continue;
    for (const position of positions.toReversed()) {
      const slot: unknown = slots[position];
      if (!isSlot(slot)) continue;
      slot.variable.dispose();
      slots.splice(position, 1);
    }
  }
}

/** What `compile` made a list of its variables in: a sequential model leaves that to a model inside it. */
interface Compiled {
  collectedTrainableWeights: readonly LayerVariable[];
}

const isCompiled = (value: unknown): value is Compiled =>
  value !== null && typeof value === 'object' && 'collectedTrainableWeights' in value;

/** Hand-over: frees all guides of a model and what its optimizer holds for them; the layers go on alone. */
export function releaseGuides(model: LayersModel): void {
  const names = new Set(guided(model).flatMap((layer) => layer.release()));
  if (names.size === 0) return;
  const compiled = [Reflect.get(model, 'model'), model].find(isCompiled);
  if (compiled === undefined) return;
  const variables = compiled.collectedTrainableWeights;
  forget(
    model.optimizer,
    variables.flatMap(({ name }, position) => (names.has(name) ? [position] : [])),
  );
  compiled.collectedTrainableWeights = variables.filter(({ name }) => !names.has(name));
}
