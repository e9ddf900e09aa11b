/** A model's values, as a checkpoint of fewer bits stores them. */
import { checkInstance, OptionError } from '../errors';
import type { StoredTensor } from '../io';
import { SCALE } from '../io/checkpoint';
import { SelfGuided, TransformerLM } from '../nn';
import { type WeightDType, WeightMatrix } from './matrix';

/**
 * Matrices in `dtype`, int8 ones together with `NAME.scale`; vectors stay float32. @throws {OptionError} for guides.
 */
export function convertWeights(model: TransformerLM, dtype: WeightDType): Map<string, StoredTensor> {
  checkInstance('convertWeights: model', model, TransformerLM);
  if ([...model.modules()].some((module) => module instanceof SelfGuided && module.guide !== null))
    throw new OptionError('convert: model', 'a model without guides (train it to the hand-over)', 'one with guides');
  const stored = new Map<string, StoredTensor>();
  for (const [name, value] of model.namedParameters()) {
    const { shape } = value;
    if (shape.length < 2) {
      stored.set(name, { shape, data: Float32Array.from(value.host()) });
      continue;
    }
    using matrix = WeightMatrix.of(value).as(dtype);
    const { data, scales } = matrix.stored();
    stored.set(name, { shape, data });
    if (scales) stored.set(`${name}${SCALE}`, { shape: shape.slice(0, -1), data: scales });
  }
  return stored;
}
