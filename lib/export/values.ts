/** What exporters read from a model: its weights as arrays. */
import { OptionError } from '../errors';
import type { TensorData } from '../io';
import { type LinearLayer, SelfGuided } from '../nn';
import type { Tensor } from '../tensor';
import type { LinearValues } from './onnx_layers';

/** Refers to the tensor's memory where it can. */
export const valuesOf = (t: Tensor): TensorData => ({ shape: t.shape, data: t.host() });

/**
 * The factors of a layer, or the dense matrix that evaluation applies.
 * @throws {OptionError} for factors of a layer that still has a guide, for the matrix of one with an inner activation.
 */
export function linearValues(layer: LinearLayer | SelfGuided, merged: boolean): LinearValues {
  const bias = layer.bias && valuesOf(layer.bias);
  if (layer instanceof SelfGuided) {
    if (merged) return { v: null, u: valuesOf(layer.merge()), bias };
    if (layer.guide === null) return linearValues(layer.layer, false);
    const expected = "'merged', because the guides still count at this step of training";
    throw new OptionError('export: weights', expected, 'factored');
  }
  const { v, u, innerActivation } = layer;
  return v === null || !merged
    ? { v: v && valuesOf(v), u: valuesOf(u), bias, innerActivation }
    : { v: null, u: valuesOf(layer.merge()), bias };
}
