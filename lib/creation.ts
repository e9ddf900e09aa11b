/** Tensors with known contents. */
import { checkDevice } from './device';
import { checkDType } from './dtype';
import { checkNumber, runNative } from './errors';
import { kernels } from './kernels';
import { checkKeys } from './options';
import { checkShape, empty, type Shape, TENSOR_OPTIONS, type Tensor, type TensorOptions } from './tensor';

/** A tensor of `shape` with every element `value`. */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  checkKeys('full', options, TENSOR_OPTIONS);
  const { dtype = 'float32', device = 'cpu', requiresGrad = false } = options;
  checkShape('full: shape', shape);
  checkDType('full: dtype', dtype);
  checkDevice('full: device', device);
  checkNumber('full: value', value);
  const y = empty([...shape], dtype, device);
  runNative(() => kernels.fill({ y, value }));
  if (requiresGrad) y.requiresGrad = true;
  return y;
}

/** A tensor of zeros. @throws {OptionError | DeviceError | OutOfMemoryError} */
export const zeros = (shape: Shape, options?: TensorOptions): Tensor => full(shape, 0, options);
/** A tensor of ones. @throws {OptionError | DeviceError | OutOfMemoryError} */
export const ones = (shape: Shape, options?: TensorOptions): Tensor => full(shape, 1, options);

/** A copy in its own memory, outside the graph. */
export function clone(x: Tensor): Tensor {
  const y = empty(x.shape, x.dtype, x.device);
  runNative(() => kernels.copy({ x, y }));
  return y;
}
