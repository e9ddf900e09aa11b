/** The types of tfjs. Only types are imported: the user's own tfjs comes in through `install(tf)`. */
import type { NamedTensorMap, Tensor } from '@tensorflow/tfjs';

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
