/** The memory of tfjs backends as typed arrays, with as few copies as each backend allows. */
import { DeviceError } from '../errors';
import { checkLength } from '../functional/buffers';
import { numel, type Shape } from '../tensor';
import type { DataId, TensorInfo } from './tfjs';

/** Bytes that were copied between a backend and the kernels since the start. */
export interface CopyCounts {
  /** Bytes copied from a backend. */
  readonly read: number;
  /** Bytes copied to a backend. */
  readonly written: number;
}

type Compute = (inputs: readonly Float32Array[], outputs: readonly Float32Array[]) => void;

/** tfjs-backend-cpu: its arrays are ordinary JavaScript memory. */
interface ArrayBackend {
  readSync(dataId: DataId): unknown;
  makeTensorInfo(shape: number[], dtype: 'float32', values: Float32Array): TensorInfo;
}

/** tfjs-backend-wasm: tensors lie in the heap of the WebAssembly module. */
interface HeapBackend {
  typedArrayFromHeap(info: TensorInfo): unknown;
  makeOutput(shape: number[], dtype: 'float32'): TensorInfo;
  disposeData(dataId: DataId): unknown;
}

/** tfjs-node's tensorflow backend: tensors belong to libtensorflow. */
interface CopyingBackend {
  readSync(dataId: DataId): unknown;
  write(values: Float32Array, shape: number[], dtype: 'float32'): DataId;
}

const has = (backend: object, ...methods: string[]): boolean =>
  methods.every((name) => typeof Reflect.get(backend, name) === 'function');
const isHeap = (backend: object): backend is HeapBackend =>
  has(backend, 'typedArrayFromHeap', 'makeOutput', 'disposeData');
const isArray = (backend: object): backend is ArrayBackend => has(backend, 'readSync', 'makeTensorInfo');
const isCopying = (backend: object): backend is CopyingBackend => has(backend, 'readSync', 'write');

const counts = { read: 0, written: 0 };

/** What has been copied so far by the kernels of this thread, all backends together. */
export const copyCounts = (): CopyCounts => ({ ...counts });

/** What a backend says is the memory of a tensor. @throws {SffnError} when it is not. */
function asFloats(values: unknown, { shape }: TensorInfo): Float32Array {
  checkLength('tfjs: the memory of a tensor', values, numel(shape), 'float32');
  return values;
}

/**
 * The data of a float32 tensor as `dataSync` and `readSync` give it: on the cpu backend a tensor cast from int32 or bool
 * keeps the array of its old type.
 */
export function floats(data: unknown): Float32Array {
  return data instanceof Int32Array || data instanceof Uint8Array ? Float32Array.from(data) : (data as Float32Array);
}

const fresh = (shapes: readonly Shape[]): Float32Array[] => shapes.map((shape) => new Float32Array(numel(shape)));
const bytesOf = (arrays: readonly { readonly byteLength?: number }[]): number =>
  arrays.reduce((sum, { byteLength = 0 }) => sum + byteLength, 0);

function runOnHeap(backend: HeapBackend, inputs: readonly TensorInfo[], shapes: readonly Shape[], compute: Compute) {
  const views = (infos: readonly TensorInfo[]) => infos.map((info) => asFloats(backend.typedArrayFromHeap(info), info));
  // Tensors of another backend move here at their first use. That and every new tensor may grow the heap, which detaches
  // all views: only those taken last are good.
  views(inputs);
  const outputs = shapes.map((shape) => backend.makeOutput([...shape], 'float32'));
  try {
    compute(views(inputs), views(outputs));
  } catch (error) {
    for (const { dataId } of outputs) backend.disposeData(dataId);
    throw error;
  }
  return outputs;
}

function runOnArrays(backend: ArrayBackend, inputs: readonly TensorInfo[], shapes: readonly Shape[], compute: Compute) {
  const outputs = fresh(shapes);
  const read = inputs.map((info) => {
    const values = backend.readSync(info.dataId);
    const converted = asFloats(floats(values), info);
    if (converted !== values) counts.read += converted.byteLength;
    return converted;
  });
  compute(read, outputs);
  return outputs.map((values, i) => backend.makeTensorInfo([...shapes[i]!], 'float32', values));
}

function runOnCopies(
  backend: CopyingBackend,
  inputs: readonly TensorInfo[],
  shapes: readonly Shape[],
  compute: Compute,
) {
  const outputs = fresh(shapes);
  const read = inputs.map((info) => asFloats(floats(backend.readSync(info.dataId)), info));
  compute(read, outputs);
  counts.read += bytesOf(read);
  counts.written += bytesOf(outputs);
  return outputs.map((values, i): TensorInfo => {
    const shape = [...shapes[i]!];
    return { dataId: backend.write(values, shape, 'float32'), shape, dtype: 'float32' };
  });
}

/**
 * Calls `compute` on the memory of the inputs and of new tensors of the given shapes, which it returns. The arrays are good
 * during the call only. @throws {DeviceError} for a backend that gives no access.
 */
export function withMemory(
  backend: object,
  inputs: readonly TensorInfo[],
  shapes: readonly Shape[],
  compute: Compute,
): TensorInfo[] {
  if (isHeap(backend)) return runOnHeap(backend, inputs, shapes, compute);
  if (isArray(backend)) return runOnArrays(backend, inputs, shapes, compute);
  if (isCopying(backend)) return runOnCopies(backend, inputs, shapes, compute);
  throw new DeviceError('tfjs: the backend gives no access to the memory of its tensors');
}
