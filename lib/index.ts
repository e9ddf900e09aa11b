export { type BackwardOptions, noGrad } from './autograd';
export * from './creation';
export * from './device';
export type { DType, TypedArray } from './dtype';
export {
  BinaryError,
  DeviceError,
  DisposedError,
  DTypeError,
  FileError,
  FormatError,
  GradientError,
  IndexError,
  OptionError,
  OutOfMemoryError,
  SffnError,
  ShapeError,
  StateDictError,
} from './errors';
export * from './ops';
export * from './random';
export { keep, Scope, tidy } from './scope';
export {
  empty,
  isTensor,
  type NestedNumbers,
  parameter,
  type Shape,
  Tensor,
  type TensorOptions,
  tensor,
} from './tensor';
