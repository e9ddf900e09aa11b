/** A weight matrix for inference, in the element type in which it is read from memory. */
import type { Handle } from '../../types/native';
import { type Device, kindOf } from '../device';
import { ELEMENTS } from '../dtype';
import { checkChoice, OptionError, runNative } from '../errors';
import { STORED_DTYPES, type StoredDType } from '../io/checkpoint';
import { kernels } from '../kernels';
import { native } from '../native';
import { numel, type Shape } from '../sizes';
import { Storage } from '../storage';
import type { Tensor } from '../tensor';

/**
 * In the model's own dtype it shares the model's memory; other dtypes, and int8 (with a float32 scale for each row),
 * are copies.
 */
export type WeightDType = StoredDType;
export const WEIGHT_DTYPES: readonly WeightDType[] = STORED_DTYPES;

/**
 * How products take their rows: as they are, or rounded to int8 with a scale for each. The latter goes with int8 weights:
 * then products are sums of integers.
 */
export type ActivationDType = 'float32' | 'int8';
export const ACTIVATION_DTYPES: readonly ActivationDType[] = ['float32', 'int8'];

/** @param where in the error. @throws {OptionError} for int8 rows without int8 weights, or on a device without them. */
export function checkActivations(
  where: string,
  activations: ActivationDType,
  dtype: WeightDType,
  device: Device,
): void {
  checkChoice(where, activations, ACTIVATION_DTYPES);
  if (activations === 'float32') return;
  if (dtype !== 'int8')
    throw new OptionError(where, `'float32' with weights in ${dtype} ('int8' goes with int8)`, activations);
  if (kindOf(device) !== 'cpu')
    throw new OptionError(where, `'float32' on device '${device}' ('int8' is computed on 'cpu')`, activations);
}

export class WeightMatrix implements Disposable {
  readonly shape: Shape;
  readonly dtype: WeightDType;
  readonly device: Device;
  readonly rows: number;
  readonly columns: number;
  /** A tensor's memory may be exchanged (`model.to`): it is asked for its handle each time. */
  readonly #values: Storage<WeightDType> | Tensor;
  readonly #scales: Storage<'float32'> | null;
  readonly #owned: boolean;

  private constructor(values: Storage<WeightDType> | Tensor, dtype: WeightDType, shape: Shape, owned: boolean) {
    this.shape = shape;
    this.dtype = dtype;
    this.device = values.device;
    this.columns = shape[shape.length - 1] ?? 1;
    this.rows = numel(shape.slice(0, -1));
    this.#values = values;
    this.#scales = dtype === 'int8' ? new Storage(this.rows, 'float32', values.device) : null;
    this.#owned = owned;
  }

  /**
   * The memory of a tensor itself.
   * @param weight [..., columns] float32 or bfloat16.
   * @param owned whether this matrix disposes `weight`.
   */
  static of(weight: Tensor, owned = false): WeightMatrix {
    return new WeightMatrix(weight, weight.dtype as WeightDType, weight.shape, owned);
  }

  /** Memory of its own, whose contents are not set. @throws {OutOfMemoryError} */
  static empty(shape: Shape, dtype: WeightDType, device: Device = 'cpu'): WeightMatrix {
    const values = new Storage(numel(shape), dtype, device);
    try {
      return new WeightMatrix(values, dtype, shape, true);
    } catch (error) {
      values.dispose();
      throw error;
    }
  }

  /** The same matrix in another type: itself where it has it, else a copy in its place. @throws {OutOfMemoryError} */
  as(dtype: WeightDType): WeightMatrix {
    if (dtype === this.dtype) return this;
    const made = WeightMatrix.empty(this.shape, dtype, this.device);
    made.copyFrom(this);
    this.dispose();
    return made;
  }

  /** Takes the values of a matrix of the same shape, of any type, on any device. @throws {OutOfMemoryError} */
  copyFrom(source: WeightMatrix): void {
    const { rows, columns } = this;
    runNative(() => {
      if (source.dtype === this.dtype) {
        native.transfer(source.handle, this.handle);
        if (this.#scales !== null) native.transfer(source.scales!, this.#scales.handle);
      } else if (source.device !== this.device) {
        this.#copyOver(source, source.dtype);
      } else if (source.dtype !== 'float32' && this.dtype !== 'float32') {
        this.#copyOver(source, 'float32');
      } else if (this.dtype === 'int8') {
        kernels.quantize({ x: source, y: this, scales: this.scales, rows, columns });
      } else if (source.dtype === 'int8') {
        kernels.dequantize({ x: source, y: this, scales: source.scales, rows, columns });
      } else {
        kernels.cast({ x: source, y: this });
      }
    });
  }

  /** In two steps, through this device's memory in another type. */
  #copyOver(source: WeightMatrix, dtype: WeightDType): void {
    using between = WeightMatrix.empty(this.shape, dtype, this.device);
    between.copyFrom(source);
    this.copyFrom(between);
  }

  get handle(): Handle {
    return this.#values.handle;
  }

  get scales(): Handle | null {
    return this.#scales?.handle ?? null;
  }

  get bytes(): number {
    return numel(this.shape) * ELEMENTS[this.dtype].bytes + (this.#scales?.bytes ?? 0);
  }

  /** Where the values are, and the scales of int8. For whoever fills them. */
  get storages(): { values: Storage; scales: Storage | null } {
    const values = this.#values instanceof Storage ? this.#values : this.#values.storage;
    return { values, scales: this.#scales };
  }

  /** As in a checkpoint: copies of the values, and of their scales for int8. */
  stored(): { data: Float32Array | Uint16Array | Int8Array; scales: Float32Array | null } {
    const bytes = this.storages.values.copy();
    return { data: new ELEMENTS[this.dtype].array(bytes), scales: this.#scales?.toArray() ?? null };
  }

  dispose(): void {
    this.#scales?.dispose();
    if (this.#owned) this.#values.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
