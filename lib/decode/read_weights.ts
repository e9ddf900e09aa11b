/** Weights of a file into native memory: straight into their place where the types agree, else one tensor at a time. */
import { runNative } from '../errors';
import type { TensorData } from '../io';
import { type OpenCheckpoint, type StoredWeight, widened } from '../io/checkpoint';
import { checkFinite } from '../io/finite';
import type { Entry, SafetensorsInput } from '../io/safetensors';
import { kernels } from '../kernels';
import { Storage } from '../storage';
import { type WeightDType, WeightMatrix } from './matrix';

/** The type in which a weight of the file can be in native memory as it is; null for none. */
function nativeDType({ values, scales }: StoredWeight): WeightDType | null {
  if (values.dtype === 'I8' && scales?.dtype === 'F32') return 'int8';
  if (scales !== null) return null;
  return values.dtype === 'F32' ? 'float32' : values.dtype === 'BF16' ? 'bfloat16' : null;
}

/** A weight whose tensors, its values and their scales, come in any order. */
abstract class Incoming {
  #missing: number;

  constructor(
    readonly stored: StoredWeight,
    readonly target: WeightMatrix,
  ) {
    this.#missing = stored.scales === null ? 1 : 2;
  }

  /** Returns whether the weight is complete. @throws {FormatError} for a value that is not finite. */
  take(file: SafetensorsInput, entry: Entry): boolean {
    this.read(file, entry);
    this.#missing--;
    return this.#missing === 0;
  }

  protected abstract read(file: SafetensorsInput, entry: Entry): void;
  /** Brings the values to the target. */
  abstract finish(): void;
  /** Gives back what was taken beside the target. */
  dispose(): void {}
}

/** Of a type that native memory has. */
class IncomingBytes extends Incoming {
  /** The target itself, if the bytes of the file can go there. */
  readonly #matrix: WeightMatrix;

  constructor(stored: StoredWeight, target: WeightMatrix, dtype: WeightDType) {
    super(stored, target);
    const inPlace = target.dtype === dtype && target.device === 'cpu';
    this.#matrix = inPlace ? target : WeightMatrix.empty(target.shape, dtype);
  }

  protected read(file: SafetensorsInput, entry: Entry): void {
    const { values, scales } = this.#matrix.storages;
    const storage = entry === this.stored.scales ? scales! : values;
    storage.withBytes((bytes) => file.readBytes(entry, bytes));
    if (storage.dtype === 'int8' || hasNorm(storage)) return;
    using exact = WeightMatrix.empty([storage.length], 'float32');
    runNative(() => kernels.cast({ x: storage, y: exact }));
    checkFinite(file.path, entry.name, exact.storages.values.toArray());
  }

  finish(): void {
    if (this.#matrix !== this.target) this.target.copyFrom(this.#matrix);
  }

  override dispose(): void {
    if (this.#matrix !== this.target) this.#matrix.dispose();
  }
}

/** Whether the values have a norm in float32: then all of them are finite. */
function hasNorm(values: Storage): boolean {
  using norm = new Storage(1, 'float32');
  using factor = new Storage(1, 'float32');
  runNative(() => kernels.grad_norm({ grads: [values.handle], norm, scale: factor, max_norm: 0 }));
  return Number.isFinite(norm.toArray()[0]);
}

/** Of any other type: as JavaScript reads it. */
class IncomingValues extends Incoming {
  #values: TensorData | null = null;
  #scales: TensorData | null = null;

  protected read(file: SafetensorsInput, entry: Entry): void {
    const read = file.readValues(entry);
    checkFinite(file.path, entry.name, read.data);
    if (entry === this.stored.scales) this.#scales = read;
    else this.#values = read;
  }

  finish(): void {
    const { data } = widened(this.#values!, this.#scales?.data);
    using exact = WeightMatrix.empty(this.target.shape, 'float32');
    runNative(() => kernels.copy({ x: data, y: exact }));
    this.target.copyFrom(exact);
  }
}

/**
 * Fills the matrices, by the names of their weights, with what a checkpoint has for them. The file is read once, from
 * beginning to end. @throws {FormatError} for a file that is damaged, and for a value that is not finite.
 */
export function readWeights(
  { file, weights, verify }: OpenCheckpoint,
  targets: ReadonlyMap<string, WeightMatrix>,
): void {
  const owners = new Map<Entry, string>();
  for (const [name, { values, scales }] of weights) {
    owners.set(values, name);
    if (scales !== null) owners.set(scales, name);
  }
  const begun = new Map<string, Incoming>();
  const incoming = (name: string): Incoming => {
    const [stored, target] = [weights.get(name)!, targets.get(name)!];
    const dtype = nativeDType(stored);
    return dtype === null ? new IncomingValues(stored, target) : new IncomingBytes(stored, target, dtype);
  };
  try {
    for (const entry of file.inOrder) {
      const name = owners.get(entry);
      if (name === undefined) {
        checkFinite(file.path, entry.name, file.readValues(entry).data);
        continue;
      }
      const weight = begun.get(name) ?? incoming(name);
      begun.set(name, weight);
      if (!weight.take(file, entry)) continue;
      weight.finish();
      weight.dispose();
      begun.delete(name);
    }
  } finally {
    for (const weight of begun.values()) weight.dispose();
  }
  verify();
}
