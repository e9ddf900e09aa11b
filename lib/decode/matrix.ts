/** A weight matrix for inference, in the element type in which it streams from memory. */
import type { Handle } from '../../types/native';
import { runNative } from '../errors';
import type { StoredDType } from '../io';
import { native } from '../native';
import type { Tensor } from '../tensor';
import { NativeBuffer } from './buffer';

/** float32 shares the model's memory; bfloat16 and int8 (with a float32 scale for each row) are copies. */
export type WeightDType = StoredDType;
export const WEIGHT_DTYPES: readonly WeightDType[] = ['float32', 'bfloat16', 'int8'];

export class WeightMatrix {
  #scales: NativeBuffer | null = null;
  #reduced: NativeBuffer | null = null;

  /**
   * @param weight [..., columns] float32.
   * @param owned whether `weight` is this matrix's to dispose.
   */
  constructor(
    readonly weight: Tensor,
    readonly dtype: WeightDType,
    readonly owned = false,
  ) {
    if (dtype === 'float32') return;
    const columns = weight.shape[weight.rank - 1]!;
    const rows = weight.size / columns;
    const reduced = new NativeBuffer(weight.size, dtype);
    this.#reduced = reduced;
    if (dtype === 'bfloat16') {
      runNative(() => native.cast(weight.handle, reduced.handle));
    } else {
      const scales = new NativeBuffer(rows);
      this.#scales = scales;
      runNative(() => native.quantize(weight.handle, reduced.handle, scales.handle, rows, columns));
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
    return this.#reduced ? this.#reduced.bytes + (this.#scales?.bytes ?? 0) : this.weight.size * 4;
  }

  /** As a checkpoint stores it: the values, and their scales for int8. */
  stored(): { data: Float32Array | Uint16Array | Int8Array; scales: Float32Array | null } {
    const bytes = this.#reduced?.copy();
    if (bytes === undefined) return { data: Float32Array.from(this.weight.data), scales: null };
    if (this.dtype === 'bfloat16') return { data: new Uint16Array(bytes), scales: null };
    return { data: new Int8Array(bytes), scales: this.#scales?.toArray() ?? null };
  }

  dispose(): void {
    this.#reduced?.dispose();
    this.#scales?.dispose();
    if (this.owned) this.weight.dispose();
  }
}
