/** The types of tfjs. Only types are imported: the user's own tfjs comes in through `install(tf)`. */
import type { LayersModel, NamedTensorMap, Tensor } from '@tensorflow/tfjs';
import { OptionError } from '../errors';
import { isObject } from '../options';

export type {
  DataId,
  DataType,
  GraphModel,
  io,
  LayersModel,
  NamedAttrMap,
  NamedTensorInfoMap,
  NamedTensorMap,
  serialization,
  Tensor,
  Tensor2D,
  Tensor3D,
  TensorInfo,
  Variable,
} from '@tensorflow/tfjs';

/** The module of TensorFlow.js that `install` is given. */
export type Tfjs = typeof import('@tensorflow/tfjs');

/** tfjs keeps all inputs of a kernel for its gradient only when they come as an array, which its types do not know. */
export function runKernel(
  tf: Tfjs,
  name: string,
  inputs: readonly Tensor[],
  attributes: { readonly [name: string]: number | string | boolean | string[] },
): Tensor[] {
  return tf.engine().runKernel<Tensor[]>(name, [...inputs] as unknown as NamedTensorMap, { ...attributes });
}

/** By its features: models of several copies of tfjs may meet in one process. @throws {OptionError} */
export function checkModel(where: string, model: unknown): asserts model is LayersModel {
  if (!isObject(model) || !Array.isArray(model.layers) || typeof model.fit !== 'function')
    throw new OptionError(`${where}: model`, 'a layers model of tfjs', model);
}
