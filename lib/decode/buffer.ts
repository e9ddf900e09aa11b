/** Native memory that is no tensor: reduced weights, pages of a cache. */
import type { Handle } from '../../types/native';
import { type Device, deviceCode } from '../device';
import { DisposedError, runNative } from '../errors';
import { native } from '../native';

/** What native.allocate calls the element types. */
export const ELEMENTS = {
  float32: { code: 0, bytes: 4 },
  bfloat16: { code: 2, bytes: 2 },
  int8: { code: 3, bytes: 1 },
};
export type Element = keyof typeof ELEMENTS;

// For buffers that nobody disposed, as in storage.ts.
const finalizer = new FinalizationRegistry<Handle>((handle) => native.release(handle, true));

export class NativeBuffer implements Disposable {
  #handle: Handle | null;

  /** @throws {OutOfMemoryError} */
  constructor(
    readonly length: number,
    readonly element: Element = 'float32',
    readonly device: Device = 'cpu',
  ) {
    const handle = runNative(() => native.allocate(length, ELEMENTS[element].code, deviceCode(device)));
    this.#handle = handle;
    finalizer.register(this, handle, this);
  }

  get bytes(): number {
    return this.length * ELEMENTS[this.element].bytes;
  }

  /** @throws {DisposedError} */
  get handle(): Handle {
    if (this.#handle === null) throw new DisposedError('decoder', 'it was disposed');
    return this.#handle;
  }

  /** Waits for the device. */
  copy(): ArrayBuffer {
    if (this.device !== 'cpu') {
      using here = new NativeBuffer(this.length, this.element);
      runNative(() => native.transfer(this.handle, here.handle));
      return here.copy();
    }
    const shared = native.arrayBuffer(this.handle);
    const copy = shared.slice(0);
    native.detach(this.handle, shared);
    return copy;
  }

  /** A copy of float32 elements. */
  toArray(): Float32Array {
    return new Float32Array(this.copy());
  }

  dispose(): void {
    if (this.#handle === null) return;
    finalizer.unregister(this);
    native.release(this.#handle);
    this.#handle = null;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
