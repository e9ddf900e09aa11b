/**
 * The safetensors format: eight bytes of header length, a JSON header, then the tensors' bytes. Files come from anywhere,
 * so a header is believed only as far as it agrees with the file.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type TypedArray, tagOf } from '../dtype';
import { DTypeError, FormatError, formatShape, ShapeError } from '../errors';
import { isObject } from '../options';
import { numel, type Shape } from '../tensor';
import { withFile, writeAtomically } from './files';

/** Values with their shape, as they stand in a file. */
export interface TensorData {
  readonly shape: Shape;
  readonly data: TypedArray;
}

/** As they are written: bfloat16 by its bits, and int8, are read back as float32. */
export interface StoredTensor {
  readonly shape: Shape;
  readonly data: TypedArray | Uint16Array | Int8Array;
}

export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, TensorData>;
  readonly metadata: ReadonlyMap<string, string>;
}

const MAX_HEADER = 100_000_000;
/** The stored dtype of each typed array that is written. */
const NAMES: Readonly<Record<string, string>> = {
  Float32Array: 'F32',
  Int32Array: 'I32',
  Uint16Array: 'BF16',
  Int8Array: 'I8',
};

/** Bytes of each stored dtype that we read, and how its elements become ours. */
const READERS: Readonly<Record<string, { bytes: number; convert: (bytes: ArrayBuffer) => TypedArray }>> = {
  F32: { bytes: 4, convert: (bytes) => new Float32Array(bytes) },
  I32: { bytes: 4, convert: (bytes) => new Int32Array(bytes) },
  F64: { bytes: 8, convert: (bytes) => Float32Array.from(new Float64Array(bytes)) },
  BF16: { bytes: 2, convert: (bytes) => widenBf16(new Uint16Array(bytes)) },
  I8: { bytes: 1, convert: (bytes) => Float32Array.from(new Int8Array(bytes)) },
  F16: { bytes: 2, convert: (bytes) => Float32Array.from(new Uint16Array(bytes), halfToFloat) },
};

function widenBf16(halves: Uint16Array): Float32Array {
  const wide = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) wide[i] = halves[i]! << 16;
  return new Float32Array(wide.buffer);
}

/** IEEE 754 binary16. */
function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** JSON.parse keeps the last of equal keys in silence; a header with a name twice is refused. */
function parseHeader(path: string, text: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    throw new FormatError(path, 'its header is no JSON');
  }
  if (!isObject(header)) throw new FormatError(path, 'its header is no JSON object');
  const keys = topLevelKeys(text);
  const twice = keys.find((key, i) => keys.indexOf(key) !== i);
  if (twice !== undefined) throw new FormatError(path, `tensor '${twice}' is there twice`);
  return header;
}

/** Keys of the outermost object of valid JSON, in order, repeated ones included. */
function topLevelKeys(text: string): string[] {
  const keys: string[] = [];
  let depth = 0;
  for (const match of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g)) {
    const [token, colon] = match;
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    else if (depth === 1 && colon !== undefined) keys.push(JSON.parse(token.slice(0, -colon.length)) as string);
  }
  return keys;
}

function parseEntry(path: string, name: string, value: unknown): Entry {
  if (!isObject(value)) throw new FormatError(path, `tensor '${name}' has no description`);
  const { dtype, shape, data_offsets: offsets } = value;
  const reader = typeof dtype === 'string' && Object.hasOwn(READERS, dtype) ? READERS[dtype] : undefined;
  if (typeof dtype !== 'string' || reader === undefined)
    throw new FormatError(
      path,
      `tensor '${name}' has dtype ${String(dtype)}; known are ${Object.keys(READERS).join(', ')}`,
    );
  if (!Array.isArray(shape) || !shape.every(isSize)) throw new FormatError(path, `tensor '${name}' has no valid shape`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    throw new FormatError(path, `tensor '${name}' has no valid data_offsets`);
  const [begin, end] = offsets as [number, number];
  const bytes = numel(shape) * reader.bytes;
  if (!Number.isSafeInteger(bytes) || end - begin !== bytes)
    throw new FormatError(path, `tensor '${name}' of ${dtype} ${formatShape(shape)} cannot have ${end - begin} bytes`);
  return { name, dtype, shape, begin, end };
}

function parseMetadata(path: string, value: unknown): Map<string, string> {
  if (value === undefined) return new Map();
  if (!isObject(value)) throw new FormatError(path, '__metadata__ is no object');
  const entries = Object.entries(value);
  const bad = entries.find(([, text]) => typeof text !== 'string');
  if (bad !== undefined) throw new FormatError(path, `__metadata__.${bad[0]} is no string`);
  return new Map(entries as [string, string][]);
}

/** The tensors must cover the data exactly: no gap, no overlap, nothing behind. */
function checkCoverage(path: string, entries: readonly Entry[], dataBytes: number): void {
  let at = 0;
  for (const { name, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (end > dataBytes) throw new FormatError(path, `tensor '${name}' ends beyond the file (is it cut short?)`);
    if (begin !== at)
      throw new FormatError(path, `tensor '${name}' ${begin < at ? 'overlaps another' : 'leaves a gap before it'}`);
    at = end;
  }
  if (at !== dataBytes) throw new FormatError(path, `${dataBytes - at} bytes belong to no tensor`);
}

function readExactly(path: string, file: number, length: number, position: number): ArrayBuffer {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const count = readSync(file, bytes, at, length - at, position + at);
    if (count === 0) throw new FormatError(path, 'it ends too early');
    at += count;
  }
  return bytes.buffer;
}

function readFrom(path: string, file: number): SafetensorsFile {
  const { size } = fstatSync(file);
  if (size < 8) throw new FormatError(path, `${size} bytes are too few for a safetensors file`);
  const headerBytes = Number(new DataView(readExactly(path, file, 8, 0)).getBigUint64(0, true));
  if (headerBytes > Math.min(size - 8, MAX_HEADER))
    throw new FormatError(path, `a header of ${headerBytes} bytes does not fit a file of ${size}`);
  const text = Buffer.from(readExactly(path, file, headerBytes, 8)).toString('utf8');
  const header = parseHeader(path, text);
  const metadata = parseMetadata(path, Object.hasOwn(header, '__metadata__') ? header.__metadata__ : undefined);
  const entries = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, value]) => parseEntry(path, name, value));
  checkCoverage(path, entries, size - 8 - headerBytes);
  const tensors = new Map<string, TensorData>();
  for (const { name, dtype, shape, begin, end } of entries)
    tensors.set(name, {
      shape,
      data: READERS[dtype]!.convert(readExactly(path, file, end - begin, 8 + headerBytes + begin)),
    });
  return { tensors, metadata };
}

/**
 * Reads a safetensors file whole. F32 and I32 are taken as they are; F64, F16, BF16 and I8 become float32.
 * @throws {FileError} when it cannot be read. @throws {FormatError} for anything in it that is not as it must be.
 */
export function loadSafetensors(path: string): SafetensorsFile {
  return withFile('read', path, () => {
    const file = openSync(path, 'r');
    try {
      return readFrom(path, file);
    } finally {
      closeSync(file);
    }
  });
}

/**
 * Writes tensors in the order given; the file is whole or not there at all.
 * @throws {ShapeError | DTypeError} naming a tensor that does not fit. @throws {FileError}
 */
export function saveSafetensors(
  path: string,
  tensors: Iterable<readonly [string, StoredTensor]>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const header: [string, unknown][] = Object.keys(metadata).length > 0 ? [['__metadata__', metadata]] : [];
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, data }] of tensors) {
    const dtype = NAMES[tagOf(data)];
    if (dtype === undefined)
      throw new DTypeError(`saveSafetensors: ${name}`, `one of ${Object.keys(NAMES).join(', ')}`, typeof data);
    if (numel(shape) !== data.length)
      throw new ShapeError(
        `saveSafetensors: ${name}`,
        `${numel(shape)} values for ${formatShape(shape)}`,
        String(data.length),
      );
    const end = offset + data.byteLength;
    header.push([name, { dtype, shape, data_offsets: [offset, end] }]);
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  // Padded with spaces, so that the data is aligned for whoever maps the file.
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  writeAtomically(path, [length, padded, ...parts]);
}
