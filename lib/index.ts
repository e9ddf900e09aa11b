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
  RecordingError,
  SffnError,
  ShapeError,
  StateDictError,
} from './errors';
export * from './ops';
export * from './random';
export { RecordedStep } from './recorded_step';
export { keep, Scope, tidy } from './scope';
export {
  isTensor,
  items,
  type NestedNumbers,
  parameter,
  type Shape,
  Tensor,
  type TensorOptions,
  tensor,
} from './tensor';
