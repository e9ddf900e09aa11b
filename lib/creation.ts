/** Tensors with known contents. */
import { checkDevice, type Device } from './device';
import { checkDType, type DType } from './dtype';
import { checkNumber, OptionError, runNative } from './errors';
import { kernels } from './kernels';
import { checkTensor } from './ops/check';
import { checkKeys } from './options';
import { checkedShape } from './sizes';
import { empty as allocate, type Shape, TENSOR_OPTIONS, type Tensor, type TensorOptions } from './tensor';

/** A tensor whose contents are not set. @throws {OptionError | ShapeError | DeviceError | OutOfMemoryError} */
export function empty(shape: Shape, dtype: DType = 'float32', device: Device = 'cpu'): Tensor {
  checkDType('empty: dtype', dtype);
  checkDevice('empty: device', device);
  return allocate(checkedShape('empty: shape', shape), dtype, device);
}

/** A tensor of `shape` with every element `value`. @throws {OptionError} for a value that the dtype cannot hold. */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  checkKeys('full', options, TENSOR_OPTIONS);
  const { dtype = 'float32', device = 'cpu', requiresGrad = false } = options;
  const checked = checkedShape('full: shape', shape);
  checkDType('full: dtype', dtype);
  checkDevice('full: device', device);
  checkNumber('full: value', value);
  if (dtype === 'int32' && value !== (value | 0)) throw new OptionError('full: value', 'a 32-bit whole number', value);
  const y = allocate(checked, dtype, device);
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
  checkTensor('clone: x', x, 'any');
  const y = allocate(x, x.dtype, x.device);
  runNative(() => kernels.copy({ x, y }));
  return y;
}
