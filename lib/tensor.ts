/** Tensor: native memory with a shape, and a place in the gradient graph. */
import type { Handle } from '../types/native';
import { type BackwardOptions, backward, DISPOSED_NODE, type GraphNode, noGrad, record } from './autograd';
import { checkDevice, type Device, deviceName } from './device';
import {
  type ArrayOf,
  checkDType,
  classOf,
  type DType,
  dtypeOf,
  ELEMENTS,
  isDetached,
  lengthOf,
  type TypedArray,
  tagOf,
} from './dtype';
import {
  checkBoolean,
  DeviceError,
  DisposedError,
  DTypeError,
  formatShape,
  OptionError,
  runNative,
  ShapeError,
} from './errors';
import { kernels } from './kernels';
import { native } from './native';
import { checkKeys, type OptionNames } from './options';
import { keep, track } from './scope';
import { checkedShape, numel, type Shape } from './sizes';
import { checkArrayBytes, Storage } from './storage';

export { numel, type Shape };

/** Options of functions that make tensors. */
export interface TensorOptions {
  /** Default: float32. */
  dtype?: DType;
  /** Default: cpu. */
  device?: Device;
  /** Whether backward() computes the gradient of this leaf. Default: false. */
  requiresGrad?: boolean;
}

export const TENSOR_OPTIONS: OptionNames<TensorOptions> = { dtype: 0, device: 0, requiresGrad: 0 };

/**
 * Native memory with a shape, an element type and a device. Elements are contiguous and row-major. Ops on tensors that
 * require gradients record how to compute them.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]], undefined, { requiresGrad: true });
 * const y = sum(square(x));
 * y.backward();
 * console.log(y.item(), x.grad?.toArray()); // 30 Float32Array [ 2, 4, 6, 8 ]
 */
export class Tensor implements Disposable {
  /** How this tensor was computed, where gradients are recorded. */
  node: GraphNode | null = null;
  #grad: Tensor | null = null;
  #requiresGrad = false;
  #disposed = false;

  #storage: Storage<DType>;
  readonly #shape: Shape;

  /**
   * Use `tensor`, `zeros`, `empty`, ...; this wraps storage as it is. The shape is copied, or shared with a tensor.
   * @throws {ShapeError | OptionError} unless the storage has the elements of the shape.
   */
  constructor(storage: Storage<DType>, shape: Shape | Tensor) {
    if (!(storage instanceof Storage)) throw new OptionError('Tensor: storage', 'the storage of a tensor', storage);
    this.#shape = isTensor(shape) ? shape.#shape : checkedShape('Tensor: shape', shape);
    if (numel(this.#shape) !== storage.length)
      throw new ShapeError('Tensor', `a shape of ${storage.length} elements`, formatShape(this.#shape));
    this.#storage = storage;
    track(this);
  }

  /** Sizes of the dimensions; frozen. */
  get shape(): Shape {
    return this.#shape;
  }

  /** The memory, which views share. */
  get storage(): Storage<DType> {
    return this.#storage;
  }

  /** Where the memory is. */
  get device(): Device {
    return this.storage.device;
  }

  /** Element type. */
  get dtype(): DType {
    return this.storage.dtype;
  }

  /** Number of elements. */
  get size(): number {
    return this.storage.length;
  }

  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  /** For kernels. @throws {DisposedError} */
  get handle(): Handle {
    this.#checkUsable();
    return this.storage.handle;
  }

  /** Whether the memory was given back. */
  get disposed(): boolean {
    return this.#disposed || this.storage.disposed;
  }

  /** The gradient that backward() left on a leaf; `null` before. */
  get grad(): Tensor | null {
    return this.#grad;
  }

  /** @throws {OptionError | ShapeError | DTypeError} unless it is null, or of this tensor's shape and of real numbers. */
  set grad(value: Tensor | null) {
    if (value !== null) checkGradientOf('grad', this, value);
    this.#grad = value;
  }

  /** Whether backward() computes a gradient for this tensor. */
  get requiresGrad(): boolean {
    return this.#requiresGrad;
  }

  /** @throws {DTypeError} for integers, which have no gradient. */
  set requiresGrad(value: boolean) {
    checkBoolean('requiresGrad', value);
    if (value && this.dtype === 'int32') throw new DTypeError('requiresGrad', 'a tensor of real numbers', this.dtype);
    this.#requiresGrad = value;
  }

  /**
   * The elements in row-major order, without a copy: writing to the array writes to the tensor. Not between forward and
   * backward: gradients would be those of other values, and backward refuses. To notice, each looks at all elements of the
   * tensors whose array somebody has; `toArray` has no such price.
   * @throws {DeviceError} for a tensor that is not in this processor's memory. @throws {DTypeError} for bfloat16, whose numbers no
   * array holds: there are `bits` and `toArray`. @throws {OutOfMemoryError} for more than Node has in one array.
   */
  get data(): TypedArray {
    this.#checkUsable();
    const { dtype } = this;
    if (dtype === 'bfloat16') throw new DTypeError('data', 'float32 or int32 (there are bits and toArray())', dtype);
    return (this.storage as Storage<'float32' | 'int32'>).lend();
  }

  /**
   * The bits of a bfloat16 tensor's elements, without a copy, as `data` has numbers: the upper halves of those of float32.
   * @throws {DTypeError} for another type. Else as `data`.
   */
  get bits(): Uint16Array {
    this.#checkUsable();
    if (this.dtype !== 'bfloat16') throw new DTypeError('bits', 'a bfloat16 tensor', this.dtype);
    return (this.storage as Storage<'bfloat16'>).lend();
  }

  /** A view may keep the memory, but not for this tensor. @throws {DisposedError} */
  #checkUsable(): void {
    if (this.#disposed) throw new DisposedError('tensor', 'it was disposed');
  }

  /**
   * The elements in this processor's memory, to be read only: the memory itself where there is an array over it, else a copy.
   */
  host(): TypedArray {
    checkLive('host', this);
    if (this.device !== 'cpu' || this.dtype === 'bfloat16') return this.toArray();
    return (this.storage as Storage<'float32' | 'int32'>).array;
  }

  /** A copy of the elements that outlives the tensor; waits for the tensor's device. bfloat16 comes as float32. */
  toArray(): TypedArray {
    checkLive('toArray', this);
    const { dtype } = this;
    if (this.device === 'cpu' && dtype !== 'bfloat16') {
      checkArrayBytes('toArray', this.storage.bytes);
      const values = new ELEMENTS[dtype].array(this.size);
      runNative(() => kernels.copy({ x: this, y: values }));
      return values;
    }
    const made: Tensor[] = [];
    const note = (t: Tensor) => {
      if (t !== this) made.push(t);
      return t;
    };
    try {
      return noGrad(() => note(note(this.to('cpu')).as(dtype === 'int32' ? 'int32' : 'float32')).toArray());
    } finally {
      for (const t of made) t.dispose();
    }
  }

  /** The value of a tensor of one element. @throws {ShapeError} */
  item(): number {
    checkLive('item', this);
    if (this.size !== 1) throw new ShapeError('item', 'a tensor of one element', formatShape(this.shape));
    return this.toArray()[0] ?? Number.NaN;
  }

  /**
   * Overwrites the elements with those of `source`, which may be on another device, outside of the graph.
   * @throws {ShapeError | DTypeError} unless `source` has the same shape and dtype.
   */
  copyFrom(source: Tensor): this {
    checkLive('copyFrom', this);
    if (!isTensor(source)) throw new OptionError('copyFrom: source', 'a tensor', source);
    checkShapeOf('copyFrom', source, this);
    if (source.dtype !== this.dtype) throw new DTypeError('copyFrom', `a ${this.dtype} tensor`, source.dtype);
    runNative(() => native.transfer(source.handle, this.handle));
    this.storage.changed();
    return this;
  }

  /**
   * The same memory under another shape, outside of the graph; `reshape` is the differentiable one.
   * @throws {ShapeError | OptionError} for a shape of another number of elements. @throws {DisposedError}
   */
  view(shape?: Shape): Tensor {
    checkLive('view', this);
    const view = new Tensor(this.storage, shape === undefined ? this : shape);
    view.storage.retain();
    return view;
  }

  /** The same values, cut from the graph. */
  detach(): Tensor {
    return this.view();
  }

  /**
   * A copy on `device`, or the tensor itself when it is there; gradients come back the same way.
   * @throws {DeviceError} when the device is not usable. @throws {OutOfMemoryError}
   */
  to(device: Device): Tensor {
    checkLive('to', this);
    checkDevice('to', device);
    if (deviceName(device) === this.device) return this;
    const y = empty(this, this.dtype, device);
    runNative(() => native.transfer(this.handle, y.handle));
    return record(y, [this], (dy) => [dy.to(this.device)]);
  }

  /**
   * A copy with elements of another type, rounded to nearest; the tensor itself when it has that type.
   * @throws {DTypeError} between integers and real numbers.
   */
  as(dtype: DType): Tensor {
    checkLive('as', this);
    checkDType('as', dtype);
    if (dtype === this.dtype) return this;
    if (dtype === 'int32' || this.dtype === 'int32') throw new DTypeError('as', 'float32 and bfloat16', dtype);
    const y = empty(this, dtype, this.device);
    runNative(() => kernels.cast({ x: this, y }));
    return record(y, [this], (dy) => [dy.as(this.dtype)]);
  }

  /**
   * Gradients of this value with respect to every leaf that requires one, added to their `grad`. A tensor of more than
   * one element needs `gradient`, of its own shape. @throws {GradientError} @throws {ShapeError}
   */
  backward(gradient?: Tensor | null, options?: BackwardOptions): void {
    checkLive('backward', this);
    backward(this, gradient ?? null, options);
  }

  /**
   * Takes the memory of `other`, which is disposed, for its own: how a module moves what others already refer to.
   * @throws {OptionError | ShapeError | DTypeError | DisposedError} unless it is of the same shape, and of real numbers as this.
   */
  adopt(other: Tensor): void {
    checkLive('adopt', this);
    checkLive('adopt: other', other);
    checkShapeOf('adopt: other', other, this);
    if ((other.dtype === 'int32') !== (this.dtype === 'int32'))
      throw new DTypeError('adopt: other', `a ${this.dtype} tensor`, other.dtype);
    if (other === this) return;
    const before = this.#storage;
    this.#storage = other.#storage.retain();
    before.dispose();
    other.dispose();
  }

  /** Gives the memory back now; the tensor and its `data` arrays are unusable afterwards. Calling it again is harmless. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.node !== null) this.node = DISPOSED_NODE;
    keep(this);
    this.storage.dispose();
  }

  /** The same, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @throws {OptionError | DisposedError} */
function checkLive(where: string, value: unknown): asserts value is Tensor {
  if (!isTensor(value)) throw new OptionError(where, 'a tensor', value);
  if (value.disposed) throw new DisposedError(where, 'the tensor was disposed');
}

/** @throws {ShapeError} unless the shapes are the same. */
function checkShapeOf(where: string, value: Tensor, like: Tensor): void {
  if (value.rank !== like.rank || value.shape.some((size, i) => size !== like.shape[i]))
    throw new ShapeError(where, `a tensor of shape ${formatShape(like.shape)}`, formatShape(value.shape));
}

/** What kernels trust of a gradient. @throws {OptionError | DisposedError | ShapeError | DTypeError} */
export function checkGradientOf(where: string, tensor: Tensor, gradient: unknown): asserts gradient is Tensor {
  checkLive(where, gradient);
  checkShapeOf(where, gradient, tensor);
  if (gradient.dtype === 'int32') throw new DTypeError(where, 'a tensor of real numbers', gradient.dtype);
}

/** A tensor whose contents are not set; of the shape of a tensor, or of one that this checks. */
export function empty(shape: Shape | Tensor, dtype: DType = 'float32', device: Device = 'cpu'): Tensor {
  if (isTensor(shape)) return new Tensor(new Storage(shape.size, dtype, device), shape);
  const checked = checkedShape('shape', shape);
  return new Tensor(new Storage(numel(checked), dtype, device), checked);
}

/** A float32 tensor whose contents are not set, and whose memory its first use takes. */
export function unset(shape: Shape): Tensor {
  const checked = checkedShape('shape', shape);
  return new Tensor(new Storage(numel(checked), 'float32', 'cpu', false), checked);
}

/** A number, or arrays of them nested as deep as the tensor has dimensions. */
export type NestedNumbers = number | readonly NestedNumbers[];

/** Dimensions that kernels take. */
const MOST_NESTED = 16;

function flatten(values: NestedNumbers, out: number[], shape: number[], depth: number): void {
  if (typeof values === 'number') {
    if (depth !== shape.length) throw new ShapeError('tensor', 'nested arrays of equal lengths', 'a ragged array');
    out.push(values);
    return;
  }
  if (!Array.isArray(values)) throw new OptionError('tensor: values', 'numbers, or nested arrays of them', values);
  if (depth === MOST_NESTED)
    throw new ShapeError('tensor', `at most ${MOST_NESTED} dimensions`, 'deeper nested arrays');
  if (shape.length === depth && out.length === 0) shape.push(values.length);
  if (shape[depth] !== values.length)
    throw new ShapeError('tensor', 'nested arrays of equal lengths', 'a ragged array');
  for (const value of values as readonly NestedNumbers[]) flatten(value, out, shape, depth + 1);
}

/** @throws {OptionError} for a number that became another one. */
function checkWhole(where: string, source: ArrayLike<number>, elements: ArrayLike<number>): void {
  for (let i = 0; i < elements.length; i++)
    if (source[i] !== elements[i]) throw new OptionError(where, '32-bit whole numbers for int32', source[i]);
}

/** The element type of an array of values. A Uint16Array is taken for the bits of bfloat16 only on request: it may hold ids. */
function givenType(values: unknown, wanted: DType | undefined): DType | null {
  const given = wanted === 'bfloat16' && tagOf(values) === 'Uint16Array' ? 'bfloat16' : dtypeOf(values);
  if (given === null && ArrayBuffer.isView(values))
    throw new DTypeError(
      'tensor',
      "a Float32Array or Int32Array, or with dtype 'bfloat16' the bits in a Uint16Array",
      classOf(values),
    );
  return given;
}

/**
 * A tensor with a copy of `values`: a number, nested arrays, or a Float32Array or Int32Array (dtype follows it) with `shape`.
 * With `dtype: 'bfloat16'` a Uint16Array holds the bits of the elements.
 * @throws {ShapeError} when the shape does not hold the values. @throws {DTypeError} for another kind of array.
 * @throws {DisposedError} for an array whose memory was transferred away.
 */
export function tensor(
  values: TypedArray | Uint16Array | NestedNumbers,
  shape?: Shape,
  options: TensorOptions = {},
): Tensor {
  checkKeys('tensor', options, TENSOR_OPTIONS);
  const given = givenType(values, options.dtype);
  const dtype = options.dtype ?? given ?? 'float32';
  checkDType('tensor: dtype', dtype);
  checkDevice('tensor: device', options.device ?? 'cpu');
  let source: ArrayLike<number>;
  const found: number[] = [];
  if (given !== null) {
    source = values as ArrayOf<DType>;
    if (isDetached(source as ArrayOf<DType>))
      throw new DisposedError('tensor: values', 'the memory of the array is gone');
    found.push(lengthOf(source));
  } else {
    const flat: number[] = [];
    flatten(values as NestedNumbers, flat, found, 0);
    source = flat;
  }
  const wanted = checkedShape('tensor: shape', shape ?? found);
  const count = given === null ? source.length : lengthOf(source);
  if (numel(wanted) !== count)
    throw new ShapeError('tensor', `${numel(wanted)} values for shape ${formatShape(wanted)}`, String(count));
  const here = empty(wanted, given === 'bfloat16' || dtype === 'int32' ? dtype : 'float32');
  // Not through here.data: what Node keeps for an ArrayBuffer over native memory goes only with a turn of the event loop.
  const array = dtype === 'int32' ? Int32Array : Float32Array;
  const elements = given === here.dtype ? (values as ArrayOf<DType>) : array.from(source);
  if (dtype === 'int32' && given !== 'int32') checkWhole('tensor: values', source, elements);
  runNative(() => kernels.copy({ x: elements, y: here }));
  const result = noGrad(() => here.as(dtype).to(options.device ?? 'cpu'));
  if (result !== here) here.dispose();
  if (options.requiresGrad) result.requiresGrad = true;
  return result;
}

/**
 * The values of float32 tensors of one element, all on one device, as `item` gives them, but with one copy and one wait for
 * all. @throws {ShapeError | DTypeError | DeviceError}
 */
export function items(tensors: readonly Tensor[]): number[] {
  if (!Array.isArray(tensors)) throw new OptionError('items', 'an array of tensors', tensors);
  // A copy: what was checked is what the kernel gets.
  const all: readonly Tensor[] = Array.from(tensors as readonly Tensor[]);
  if (all.length === 0) return [];
  const device = all[0]?.device;
  for (const t of all) {
    if (!isTensor(t)) throw new OptionError('items', 'an array of tensors', all);
    if (t.size !== 1) throw new ShapeError('items', 'tensors of one element', formatShape(t.shape));
    if (t.dtype !== 'float32') throw new DTypeError('items', 'float32 tensors', t.dtype);
    if (t.device !== device)
      throw new DeviceError(`items: tensors on '${device}' and '${t.device}'; move one with .to(device)`);
  }
  const together = empty([all.length], 'float32', device);
  try {
    runNative(() => kernels.gather_scalars({ x: all.map(({ handle }) => handle), y: together }));
    return Array.from(together.toArray());
  } finally {
    together.dispose();
  }
}

/** Whether `value` is one of our tensors. */
export const isTensor = (value: unknown): value is Tensor => value instanceof Tensor;

/** A leaf whose gradient is wanted and that no scope disposes: what modules hold. */
export function parameter(value: Tensor): Tensor {
  checkLive('parameter', value);
  value.requiresGrad = true;
  return keep(value);
}
