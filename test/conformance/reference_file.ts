/** A reference file (test/fixtures/reference/README.md): inputs, and the outputs and gradients that must come out. */
import { readFileSync } from 'node:fs';
import { FormatError } from '../../lib/errors';

export interface ReferenceTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface ReferenceFile {
  readonly path: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, ReferenceTensor>;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);

/** Reads a safetensors file of float32 tensors. @throws {FormatError} when it is anything else. */
export function readReferenceFile(path: string): ReferenceFile {
  const bytes = readFileSync(path);
  const refuse = (problem: string): never => {
    throw new FormatError(path, problem);
  };
  const headerLength = bytes.length < 8 ? Number.POSITIVE_INFINITY : Number(bytes.readBigUInt64LE(0));
  if (headerLength > bytes.length - 8) refuse('the header does not fit in the file');
  const start = 8 + headerLength;
  let header: unknown;
  try {
    header = JSON.parse(bytes.toString('utf8', 8, start));
  } catch {
    refuse('the header is not JSON');
  }
  if (!isRecord(header)) return refuse('the header is not an object');
  const metadata = new Map<string, string>();
  const tensors = new Map<string, ReferenceTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (!isRecord(entry)) return refuse(`${name} is not an object`);
    if (name === '__metadata__') {
      for (const [key, value] of Object.entries(entry)) metadata.set(key, String(value));
      continue;
    }
    const { dtype, shape, data_offsets: offsets } = entry;
    if (dtype !== 'F32') return refuse(`${name} is ${String(dtype)}, expected F32`);
    if (!isSizes(shape) || !isSizes(offsets)) return refuse(`${name} has no valid shape and offsets`);
    const [from = 0, to = 0] = offsets;
    const size = shape.reduce((product, s) => product * s, 1);
    if (to - from !== 4 * size || start + to > bytes.length) return refuse(`${name} does not lie in the file`);
    tensors.set(name, {
      shape,
      data: new Float32Array(Uint8Array.from(bytes.subarray(start + from, start + to)).buffer),
    });
  }
  return { path, metadata, tensors };
}
