/** A tensor's memory: a native buffer, counted by the tensors that share it. */
import type { Handle } from '../types/native';
import { type Device, deviceCode, deviceName } from './device';
import { DTYPES, type DType, type TypedArray } from './dtype';
import { DeviceError, DisposedError, DTypeError, runNative } from './errors';
import { native } from './native';

// The safety net for tensors that nobody disposed. A handle already released is refused by its generation, so
// a finalizer that comes late does no harm.
const finalizer = new FinalizationRegistry<Handle>((handle) => native.release(handle, true));

export class Storage {
  #handle: Handle | null;
  #array: TypedArray | null = null;
  #references = 1;
  readonly device: Device;

  /** @throws {OutOfMemoryError} */
  constructor(
    readonly length: number,
    readonly dtype: DType,
    device: Device = 'cpu',
  ) {
    this.device = deviceName(device);
    this.#handle = runNative(() => native.allocate(length, DTYPES[dtype].code, deviceCode(this.device)));
    finalizer.register(this, this.#handle, this);
  }

  get disposed(): boolean {
    return this.#handle === null;
  }

  get shared(): boolean {
    return this.#references > 1;
  }

  get handle(): Handle {
    if (this.#handle === null) throw new DisposedError('tensor', 'it was disposed');
    return this.#handle;
  }

  /** The elements, without a copy. The array becomes empty when the tensor is disposed. @throws {DeviceError} */
  get array(): TypedArray {
    const handle = this.handle;
    if (this.device !== 'cpu')
      throw new DeviceError(`data: the tensor is on '${this.device}'; use toArray(), item() or to('cpu')`);
    const { array } = DTYPES[this.dtype];
    if (array === null)
      throw new DTypeError('data', 'a tensor whose dtype has a typed array; use toArray()', this.dtype);
    // A caller may have transferred the ArrayBuffer away; the memory is ours all the same, so it gets a new one.
    if (this.#array === null || (this.#array.length === 0 && this.length > 0))
      this.#array = new array(native.arrayBuffer(handle));
    return this.#array;
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (this.#handle === null || --this.#references > 0) return;
    // Detached first: a typed array that the caller still holds must not see the memory's next use.
    if (this.#array !== null && this.#array.length > 0) native.detach(this.#handle, this.#array.buffer as ArrayBuffer);
    this.#array = null;
    finalizer.unregister(this);
    native.release(this.#handle);
    this.#handle = null;
  }
}
