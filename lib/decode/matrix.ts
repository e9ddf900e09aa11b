/** A weight matrix for inference, in the element type in which it is read from memory. */
import type { Handle } from '../../types/native';
import { ELEMENTS } from '../dtype';
import { runNative } from '../errors';
import type { StoredDType } from '../io';
import { kernels } from '../kernels';
import { Storage } from '../storage';
import type { Tensor } from '../tensor';

/**
 * In the model's own dtype it shares the model's memory; other dtypes, and int8 (with a float32 scale for each row),
 * are copies.
 */
export type WeightDType = StoredDType;
export const WEIGHT_DTYPES: readonly WeightDType[] = ['float32', 'bfloat16', 'int8'];

export class WeightMatrix implements Disposable {
  #scales: Storage | null = null;
  #reduced: Storage | null = null;

  /**
   * @param weight [..., columns] float32 or bfloat16, on any device.
   * @param owned whether this matrix disposes `weight`.
   */
  constructor(
    readonly weight: Tensor,
    readonly dtype: WeightDType,
    readonly owned = false,
  ) {
    if (dtype === weight.dtype) return;
    const { device, size } = weight;
    const reduced = new Storage(size, dtype, device);
    this.#reduced = reduced;
    if (dtype === 'int8') {
      const columns = weight.shape[weight.rank - 1]!;
      const rows = size / columns;
      const scales = new Storage(rows, 'float32', device);
      this.#scales = scales;
      using exact = new WeightMatrix(weight, 'float32');
      runNative(() => kernels.quantize({ x: exact, y: reduced, scales, rows, columns }));
    } else {
      runNative(() => kernels.cast({ x: weight, y: reduced }));
    }
    if (owned) weight.dispose();
  }

  get handle(): Handle {
    return this.#reduced?.handle ?? this.weight.handle;
  }

  get scales(): Handle | null {
    return this.#scales?.handle ?? null;
  }

  get bytes(): number {
    if (this.#reduced) return this.#reduced.bytes + (this.#scales?.bytes ?? 0);
    return this.weight.size * ELEMENTS[this.dtype].bytes;
  }

  /** As in a checkpoint: the values, and their scales for int8. */
  stored(): { data: Float32Array | Uint16Array | Int8Array; scales: Float32Array | null } {
    const bytes = (this.#reduced ?? this.weight.storage).copy();
    return { data: new ELEMENTS[this.dtype].array(bytes), scales: this.#scales?.toArray() ?? null };
  }

  dispose(): void {
    this.#reduced?.dispose();
    this.#scales?.dispose();
    if (this.owned) this.weight.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
