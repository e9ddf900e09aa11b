/** Native memory: of tensors, which may share it, and of whatever else kernels work on. */
import { constants } from 'node:buffer';
import type { Handle } from '../types/native';
import { type Device, deviceCode, deviceName } from './device';
import { type ArrayOf, bufferOf, byteLengthOf, byteOffsetOf, ELEMENTS, type ElementType, lengthOf } from './dtype';
import { checkAlive, checkInteger, DeviceError, DisposedError, OutOfMemoryError, runNative } from './errors';
import { native } from './native';

// Memory that nobody disposed goes in sweeps, most of them during allocations. This one comes after each collection: it gives
// back the memory of a program that allocates nothing more.
const collections = new FinalizationRegistry(() => {
  native.sweep();
  watch();
});
const watch = () => collections.register({}, null);
watch();

/** @throws {OutOfMemoryError} for more bytes than Node has in one array: 4 GiB in version 20. */
export function checkArrayBytes(where: string, bytes: number): void {
  if (bytes > constants.MAX_LENGTH)
    throw new OutOfMemoryError(`${where}: expected at most ${constants.MAX_LENGTH} bytes in one array, got ${bytes}`);
}

/** Of all storage: no two contents have the same version. */
let latestVersion = 0;

/** Odd, so that each step can be undone: no change of a single element goes unseen. */
const FACTOR = 0x9e3779b1;

/** Of the bits of elements, in their order. Four sums, because a single one would wait for itself. */
function checksum(array: ArrayOf<ElementType>): number {
  const [buffer, begin, bytes] = [bufferOf(array), byteOffsetOf(array), byteLengthOf(array)];
  const words = new Int32Array(buffer, begin, bytes >> 2);
  let [a, b, c, d] = [1, 2, 3, 4];
  let i = 0;
  for (; i + 3 < words.length; i += 4) {
    a = Math.imul(a, FACTOR) + words[i]!;
    b = Math.imul(b, FACTOR) + words[i + 1]!;
    c = Math.imul(c, FACTOR) + words[i + 2]!;
    d = Math.imul(d, FACTOR) + words[i + 3]!;
  }
  for (; i < words.length; i++) a = Math.imul(a, FACTOR) + words[i]!;
  for (const byte of new Uint8Array(buffer, begin + (bytes & ~3), bytes & 3)) b = Math.imul(b, FACTOR) + byte;
  return [a, b, c, d].reduce((sum, part) => (Math.imul(sum, FACTOR) + part) | 0, 0);
}

export class Storage<T extends ElementType = ElementType> implements Disposable {
  /** Undefined: no memory yet; null: it was given back. */
  #handle: Handle | null | undefined;
  #array: ArrayOf<T> | null = null;
  #references = 1;
  #version = ++latestVersion;
  /** Of the elements at the latest look, once a caller has the array and may write to it; null before. */
  #sum: number | null = null;
  // Private: kernels trust them as much as the handle.
  readonly #length: number;
  readonly #dtype: T;
  readonly #device: Device;

  /**
   * The contents are not set.
   * @param take whether to take the memory now. Else the first use takes it. @throws {OutOfMemoryError}
   */
  constructor(length: number, dtype: T, device: Device = 'cpu', take = true) {
    checkInteger('Storage: length', length, 0);
    this.#length = length;
    this.#dtype = dtype;
    this.#device = deviceName(device);
    if (take) this.#handle = this.#take();
  }

  #take(): Handle {
    return runNative(() => native.allocate(this.#length, native.dtypes[this.#dtype], deviceCode(this.#device), this));
  }

  get length(): number {
    return this.#length;
  }

  get dtype(): T {
    return this.#dtype;
  }

  get device(): Device {
    return this.#device;
  }

  get bytes(): number {
    return this.length * ELEMENTS[this.dtype].bytes;
  }

  get disposed(): boolean {
    return this.#handle === null;
  }

  get shared(): boolean {
    return this.#references > 1;
  }

  /** @throws {DisposedError} */
  get handle(): Handle {
    if (this.#handle === null) throw new DisposedError('tensor', 'it was disposed');
    this.#handle ??= this.#take();
    return this.#handle;
  }

  /** The elements, without a copy; of bfloat16 the bits. The array becomes empty when the memory goes. @throws {DeviceError} */
  get array(): ArrayOf<T> {
    const handle = this.handle;
    if (this.device !== 'cpu')
      throw new DeviceError(`data: the tensor is on '${this.device}'; use toArray(), item() or to('cpu')`);
    // A caller may have transferred the ArrayBuffer away; the memory is ours all the same, so it gets a new one.
    if (this.#array === null || (lengthOf(this.#array) === 0 && this.length > 0)) {
      checkArrayBytes('data', this.bytes);
      // Of no elements: an ArrayBuffer of native memory could not be told from one that was transferred away.
      this.#array = new ELEMENTS[this.dtype].array(this.length === 0 ? 0 : runNative(() => native.arrayBuffer(handle)));
    }
    return this.#array;
  }

  /** The array for a caller, who may write to it at any time: from now on `version` looks at the elements. */
  lend(): ArrayOf<T> {
    const { array } = this;
    this.#sum ??= checksum(array);
    return array;
  }

  /** Another number after each change: what was computed from the elements before no longer fits them. */
  get version(): number {
    if (this.#sum !== null && !this.disposed) {
      const sum = checksum(this.array);
      if (sum !== this.#sum) this.changed();
      this.#sum = sum;
    }
    return this.#version;
  }

  /** To be called by whoever writes over elements that a graph may have kept. */
  changed(): void {
    this.#version = ++latestVersion;
  }

  /** A copy of the elements' bytes. Waits for the device. */
  copy(): ArrayBuffer {
    checkArrayBytes('copy', this.bytes);
    if (this.device !== 'cpu') {
      using here = new Storage(this.length, this.dtype);
      runNative(() => native.transfer(this.handle, here.handle));
      return here.copy();
    }
    return this.array.slice().buffer as ArrayBuffer;
  }

  /** Lends the bytes themselves to `body`; the array is empty afterwards. For memory whose `array` nobody has. */
  withBytes<R>(body: (bytes: Uint8Array<ArrayBuffer>) => R): R {
    checkArrayBytes('data', this.bytes);
    const { handle } = this;
    const shared = runNative(() => native.arrayBuffer(handle));
    try {
      return body(new Uint8Array(shared));
    } finally {
      native.detach(handle, shared);
    }
  }

  /** A copy of float32 elements. Waits for the device. */
  toArray(): Float32Array {
    return new Float32Array(this.copy());
  }

  retain(): this {
    checkAlive('tensor', this.disposed);
    this.#references++;
    return this;
  }

  /** The memory goes when everybody who retained it has disposed it. */
  dispose(): void {
    if (this.#handle === null || --this.#references > 0) return;
    const handle = this.#handle;
    this.#handle = null;
    if (handle === undefined) return;
    // Detached first: a typed array that the caller still holds must not see the memory's next use.
    // By what the array itself says: a caller may have given it other properties.
    if (this.#array !== null && lengthOf(this.#array) > 0) native.detach(handle, bufferOf(this.#array) as ArrayBuffer);
    this.#array = null;
    native.release(handle);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
