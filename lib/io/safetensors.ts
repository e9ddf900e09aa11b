/**
 * The safetensors format: eight bytes of header length, a JSON header, then the tensors' bytes. Files come from
 * anywhere, so a header is trusted only as far as it agrees with the file.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { bufferOf, byteLengthOf, byteOffsetOf, lengthOf, type TypedArray, tagOf } from '../dtype';
import { checkPath, DTypeError, FormatError, formatShape, OptionError, ShapeError } from '../errors';
import { checkKeys, isIterable, isObject } from '../options';
import { isSize } from '../sizes';
import { numel, type Shape } from '../tensor';
import { type FileRecord, readExactly, readInto, withFile, writeAtomically } from './files';

/** Values with their shape, as in a file. */
export interface TensorData {
  /** Sizes of the dimensions. */
  readonly shape: Shape;
  /** Elements, row-major. */
  readonly data: TypedArray;
}

/** Values to write. bfloat16, given by its bits, and int8 are read back as float32. */
export interface StoredTensor {
  /** Sizes of the dimensions. */
  readonly shape: Shape;
  /** Elements, row-major; bfloat16 as its bits in a Uint16Array. */
  readonly data: TypedArray | Uint16Array | Int8Array;
}

/** A safetensors file in memory. */
export interface SafetensorsFile {
  /** Tensors by name, in the order of the file. */
  readonly tensors: ReadonlyMap<string, TensorData>;
  /** The texts of `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The dtypes of tensors in the file that cannot be read: I64, BOOL and the like. */
  readonly unread: ReadonlyMap<string, string>;
}

/** Options of `loadSafetensors`. */
export interface LoadSafetensorsOptions {
  /** Read only these tensors. Default: every one of a dtype that can be read. */
  readonly names?: Iterable<string>;
}

const MAX_HEADER = 100_000_000;
/** Of a header three are in use: of tensors, of what is said of one, and of its sizes. */
const MAX_NESTED = 16;
/** The stored dtype of each typed array that is written. */
const NAMES: Readonly<Record<string, string>> = {
  Float32Array: 'F32',
  Int32Array: 'I32',
  Uint16Array: 'BF16',
  Int8Array: 'I8',
};

/** Bytes of an element of each dtype of the format. */
const BYTES: Readonly<Record<string, number>> = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, F8_E8M0: 1 },
  ...{ I16: 2, U16: 2, F16: 2, BF16: 2 },
  ...{ I32: 4, U32: 4, F32: 4 },
  ...{ I64: 8, U64: 8, F64: 8 },
};

/** How the elements of each dtype become ours. */
const READERS: Readonly<Record<string, (bytes: ArrayBuffer) => TypedArray>> = {
  F32: (bytes) => new Float32Array(bytes),
  I32: (bytes) => new Int32Array(bytes),
  F64: (bytes) => new Float32Array(new Float64Array(bytes)),
  BF16: (bytes) => widenBf16(new Uint16Array(bytes)),
  I8: (bytes) => new Float32Array(new Int8Array(bytes)),
  F16: (bytes) => widenF16(new Uint16Array(bytes)),
};

function widenBf16(halves: Uint16Array): Float32Array {
  const wide = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) wide[i] = halves[i]! << 16;
  return new Float32Array(wide.buffer);
}

/** The value of each of the 65536 numbers of IEEE 754 binary16; computed when the first is read. */
let halves: Float32Array | undefined;

function widenF16(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 65536 }, (_, i) => halfToFloat(i));
  const wide = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = halves[bits[i]!]!;
  return wide;
}

function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** What a header says of a tensor. */
export interface Entry {
  readonly name: string;
  /** As the format calls it: F32, BF16, I8, ... */
  readonly dtype: string;
  readonly shape: Shape;
  /** Where its bytes begin and end, after the header. */
  readonly begin: number;
  readonly end: number;
}

function parseHeader(path: string, bytes: Uint8Array): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new FormatError(path, 'its header is not UTF-8');
  }
  checkNesting(path, text);
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    throw new FormatError(path, 'its header is not JSON');
  }
  if (!isObject(header)) throw new FormatError(path, 'its header is not a JSON object');
  return header;
}

/** Where a string of JSON ends that begins at `at`; the text's end if it does not. */
function endOfString(text: string, at: number): number {
  let end = at + 1;
  while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
  return Math.min(end + 1, text.length);
}

/**
 * What JSON.parse does not refuse, or only after seconds: a key that appears twice in an object, of which it keeps the last,
 * and deep nesting. Character by character, because a regular expression overflows the stack on long strings.
 * @throws {FormatError}
 */
function checkNesting(path: string, text: string): void {
  /** Keys of the objects that are open; null for a list. */
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < text.length; at++) {
    const letter = text[at]!;
    if (letter === '{' || letter === '[') {
      if (open.length === MAX_NESTED) throw new FormatError(path, 'its header is nested too deeply');
      open.push(letter === '{' ? new Set() : null);
    } else if (letter === '}' || letter === ']') open.pop();
    else if (letter === '"') {
      const begin = at;
      at = endOfString(text, begin) - 1;
      let next = at + 1;
      while (text[next] === ' ' || text[next] === '\n' || text[next] === '\r' || text[next] === '\t') next++;
      if (text[next] !== ':') continue;
      const key = keyOf(path, text.slice(begin, at + 1));
      const keys = open.at(-1);
      if (keys?.has(key))
        throw new FormatError(path, `${open.length === 1 ? 'tensor ' : ''}'${key}' appears twice in its header`);
      keys?.add(key);
    }
  }
}

function keyOf(path: string, text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    throw new FormatError(path, 'its header is not JSON');
  }
}

function parseEntry(path: string, name: string, value: unknown): Entry {
  if (!isObject(value)) throw new FormatError(path, `tensor '${name}' has no description`);
  const { dtype, shape, data_offsets: offsets } = value;
  const size = typeof dtype === 'string' && Object.hasOwn(BYTES, dtype) ? BYTES[dtype] : undefined;
  if (typeof dtype !== 'string' || size === undefined)
    throw new FormatError(
      path,
      `tensor '${name}' has dtype ${String(dtype)}; known are ${Object.keys(BYTES).join(', ')}`,
    );
  if (!Array.isArray(shape) || !shape.every(isSize)) throw new FormatError(path, `tensor '${name}' has no valid shape`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    throw new FormatError(path, `tensor '${name}' has no valid data_offsets`);
  const [begin, end] = offsets as [number, number];
  const bytes = numel(shape) * size;
  if (!Number.isSafeInteger(bytes) || end - begin !== bytes)
    throw new FormatError(path, `tensor '${name}' of ${dtype} ${formatShape(shape)} cannot have ${end - begin} bytes`);
  return { name, dtype, shape, begin, end };
}

function parseMetadata(path: string, value: unknown): Map<string, string> {
  if (value === undefined) return new Map();
  if (!isObject(value)) throw new FormatError(path, '__metadata__ is not an object');
  const entries = Object.entries(value);
  const bad = entries.find(([, text]) => typeof text !== 'string');
  if (bad !== undefined) throw new FormatError(path, `__metadata__.${bad[0]} is not a string`);
  return new Map(entries as [string, string][]);
}

/** The tensors, in the order of their bytes, must cover the data exactly: no gap, no overlap, no rest. */
function checkCoverage(path: string, entries: readonly Entry[], dataBytes: number): void {
  let at = 0;
  for (const { name, begin, end } of entries) {
    if (end > dataBytes) throw new FormatError(path, `tensor '${name}' ends beyond the file (is it cut short?)`);
    if (begin !== at)
      throw new FormatError(path, `tensor '${name}' ${begin < at ? 'overlaps another' : 'leaves a gap before it'}`);
    at = end;
  }
  if (at !== dataBytes) throw new FormatError(path, `${dataBytes - at} bytes belong to no tensor`);
}

function checkNames(path: string, entries: readonly Entry[], names: ReadonlySet<string>): void {
  const dtypes = new Map(entries.map(({ name, dtype }) => [name, dtype]));
  for (const name of names) {
    const dtype = dtypes.get(name);
    if (dtype === undefined) throw new FormatError(path, `it has no tensor '${name}'`);
    if (!isReadable(dtype))
      throw new FormatError(
        path,
        `tensor '${name}' has dtype ${dtype}; readable are ${Object.keys(READERS).join(', ')}`,
      );
  }
}

/** Whether tensors of a dtype can be read. */
export const isReadable = (dtype: string): boolean => Object.hasOwn(READERS, dtype);

/** An open file: its header, checked, and the bytes of its tensors when they are asked for. */
export class SafetensorsInput {
  /** In the order of the header. */
  readonly entries: readonly Entry[];
  /** In the order of their bytes, in which they are to be read. */
  readonly inOrder: readonly Entry[];
  readonly metadata: ReadonlyMap<string, string>;
  readonly #file: number;
  readonly #size: number;
  readonly #dataBegin: number;
  #sum: number;
  /** Tensors read so far, of those in order. */
  #read = 0;

  /** @throws {FormatError} for anything in the header that is wrong. Throws system errors. */
  constructor(
    readonly path: string,
    file: number,
  ) {
    const { size } = fstatSync(file);
    if (size < 8) throw new FormatError(path, `${size} bytes are too few for a safetensors file`);
    const lengthBytes = readExactly(path, file, 8, 0);
    const headerBytes = Number(new DataView(lengthBytes.buffer).getBigUint64(0, true));
    if (headerBytes > Math.min(size - 8, MAX_HEADER))
      throw new FormatError(path, `a header of ${headerBytes} bytes does not fit a file of ${size}`);
    const headerText = readExactly(path, file, headerBytes, 8);
    const header = parseHeader(path, headerText);
    this.metadata = parseMetadata(path, Object.hasOwn(header, '__metadata__') ? header.__metadata__ : undefined);
    this.entries = Object.entries(header)
      .filter(([name]) => name !== '__metadata__')
      .map(([name, value]) => parseEntry(path, name, value));
    this.#file = file;
    this.#size = size;
    this.#dataBegin = 8 + headerBytes;
    this.#sum = crc32(headerText, crc32(lengthBytes));
    this.inOrder = [...this.entries].sort((a, b) => a.begin - b.begin || a.end - b.end);
    checkCoverage(path, this.inOrder, size - this.#dataBegin);
  }

  /** Fills `bytes`, as many as the tensor has. @throws {FormatError} Throws system errors. */
  readBytes({ begin }: Entry, bytes: Uint8Array): void {
    this.#sum = readInto(this.path, this.#file, bytes, this.#dataBegin + begin, this.#sum);
    this.#read++;
  }

  /** The values of a tensor of a dtype that can be read. @throws {FormatError} Throws system errors. */
  readValues(entry: Entry): TensorData {
    const bytes = new Uint8Array(entry.end - entry.begin);
    this.readBytes(entry, bytes);
    return { shape: entry.shape, data: READERS[entry.dtype]!(bytes.buffer) };
  }

  /** Of the whole file; reads what was not read yet. */
  record(): FileRecord {
    for (const entry of this.inOrder.slice(this.#read)) this.readBytes(entry, new Uint8Array(entry.end - entry.begin));
    return { bytes: this.#size, crc32: this.#sum };
  }
}

/** Reads an open file. @throws {FormatError} Throws system errors. */
function readSafetensors(path: string, file: number, { names }: LoadSafetensorsOptions): SafetensorsFile {
  const input = new SafetensorsInput(path, file);
  const { entries, metadata } = input;
  const wanted = names === undefined ? null : new Set(names);
  if (wanted) checkNames(path, entries, wanted);
  const unread = new Map(entries.flatMap(({ name, dtype }) => (isReadable(dtype) ? [] : [[name, dtype] as const])));
  const read = new Map<string, TensorData>();
  for (const entry of input.inOrder)
    if (!unread.has(entry.name) && wanted?.has(entry.name) !== false) read.set(entry.name, input.readValues(entry));
  // In the order of the header.
  const tensors = new Map(entries.flatMap(({ name }) => (read.has(name) ? [[name, read.get(name)!] as const] : [])));
  return { tensors, metadata, unread };
}

/**
 * Reads a safetensors file. F32 and I32 are taken as they are; F64, F16, BF16 and I8 become float32. Others are left
 * out and listed in `unread`.
 * @throws {FileError} when it cannot be read. @throws {FormatError} for anything in it that is wrong, and for a
 * requested name that is missing or of a dtype that cannot be read.
 */
export function loadSafetensors(path: string, options: LoadSafetensorsOptions = {}): SafetensorsFile {
  checkPath('loadSafetensors: path', path);
  checkKeys('loadSafetensors', options, { names: 0 });
  return withFile('read', path, () => {
    const file = openSync(path, 'r');
    try {
      return readSafetensors(path, file, options);
    } finally {
      closeSync(file);
    }
  });
}

/** Names and texts of a header must survive a round trip through UTF-8. */
const isText = (value: unknown): value is string => typeof value === 'string' && !/\p{Surrogate}/u.test(value);

/** All pairs at once: some iterables give theirs only once. @throws {OptionError} unless they are names and tensors. */
export function namedTensors(where: string, tensors: unknown): readonly (readonly [string, StoredTensor])[] {
  if (!isIterable(tensors)) throw new OptionError(where, 'tensors by name', tensors);
  return Array.from(tensors, (entry) => {
    if (!Array.isArray(entry) || !isObject(entry[1]))
      throw new OptionError(where, 'pairs of a name and a tensor', entry);
    return entry as unknown as readonly [string, StoredTensor];
  });
}

/**
 * The bytes of a safetensors file with tensors in the given order. Everything that is written can be read.
 * @throws {OptionError | ShapeError | DTypeError} naming what does not fit.
 */
export function safetensorsBytes(
  tensors: Iterable<readonly [string, StoredTensor]>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  if (!isObject(metadata)) throw new OptionError('saveSafetensors: metadata', 'an object of texts', metadata);
  for (const [key, value] of Object.entries(metadata))
    if (!isText(key) || !isText(value)) throw new OptionError(`saveSafetensors: metadata.${key}`, 'a text', value);
  const header = new Map<string, unknown>(Object.keys(metadata).length > 0 ? [['__metadata__', metadata]] : []);
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape: given, data }] of namedTensors('saveSafetensors: tensors', tensors)) {
    if (!isText(name) || name === '__metadata__')
      throw new OptionError('saveSafetensors: name', 'a text other than __metadata__', name);
    if (header.has(name)) throw new OptionError('saveSafetensors: name', 'each name once', name);
    const dtype = NAMES[tagOf(data)];
    if (dtype === undefined)
      throw new DTypeError(`saveSafetensors: ${name}`, `one of ${Object.keys(NAMES).join(', ')}`, typeof data);
    if (!Array.isArray(given)) throw new OptionError(`saveSafetensors: shape of ${name}`, 'an array of sizes', given);
    const shape: Shape = Array.from(given as Shape);
    if (!shape.every(isSize) || numel(shape) !== lengthOf(data))
      throw new ShapeError(
        `saveSafetensors: ${name}`,
        `${numel(shape)} values for ${formatShape(shape)}`,
        String(lengthOf(data)),
      );
    const end = offset + byteLengthOf(data);
    header.set(name, { dtype, shape, data_offsets: [offset, end] });
    parts.push(new Uint8Array(bufferOf(data), byteOffsetOf(data), byteLengthOf(data)));
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  // Padded with spaces, so that the data is aligned for programs that map the file.
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  if (padded.length > MAX_HEADER)
    throw new OptionError('saveSafetensors: header', `at most ${MAX_HEADER} bytes`, padded.length);
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return [length, padded, ...parts];
}

/**
 * Writes tensors in the given order; the file is complete or not written at all.
 * @throws {ShapeError | DTypeError} naming a tensor that does not fit. @throws {OptionError} for a name that appears
 * twice or is reserved by the format, and for metadata that is not text. @throws {FileError}
 */
export function saveSafetensors(
  path: string,
  tensors: Iterable<readonly [string, StoredTensor]>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  checkPath('saveSafetensors: path', path);
  writeAtomically(path, safetensorsBytes(tensors, metadata));
}
