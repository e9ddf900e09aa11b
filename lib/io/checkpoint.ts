/**
 * A checkpoint is a folder: `model.safetensors`, `config.json`, and, if training is to go on, `optimizer.safetensors`
 * and `trainer.json`. `manifest.json` lists them with their checksums. store.ts replaces the folder as a whole.
 */
import { closeSync, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { TypedArray } from '../dtype';
import { checkChoice, checkPath, FormatError, OptionError } from '../errors';
import { isObject } from '../options';
import { numel, type Shape } from '../sizes';
import { jsonBytes, readExactly, withFile } from './files';
import { checkFinite } from './finite';
import { CONFIG, type FileName } from './manifest';
import { OpenFolder } from './open_folder';
import {
  type Entry,
  isReadable,
  namedTensors,
  SafetensorsInput,
  type StoredTensor,
  safetensorsBytes,
  type TensorData,
} from './safetensors';
import { checkFree, replaceFolder } from './store';

export const CHECKPOINT_VERSION = 1;

/** The ending of the names of int8 matrices' scales. */
export const SCALE = '.scale';

const WEIGHTS = 'model.safetensors';
const OPTIMIZER = 'optimizer.safetensors';
const TRAINER = 'trainer.json';
const TOKENIZER = 'tokenizer.json';

/** How the matrices of a checkpoint are stored. */
export type StoredDType = 'float32' | 'bfloat16' | 'int8';
export const STORED_DTYPES: readonly StoredDType[] = ['float32', 'bfloat16', 'int8'];

/** What a checkpoint folder holds. */
export interface Checkpoint<Values = TensorData, Tokenizer = string> {
  /** Weights by name. */
  readonly model: ReadonlyMap<string, Values>;
  /** Of the matrices; values are float32 in memory. The file has `NAME.scale` for each int8 one. Default: float32. */
  readonly dtype?: StoredDType;
  /** The model's config. */
  readonly config: unknown;
  /** Moments of the optimizer. */
  readonly optimizer?: ReadonlyMap<string, TensorData>;
  /** Everything else that a trainer needs to continue bit for bit; plain JSON. */
  readonly trainer?: unknown;
  /** A file to keep in the checkpoint as `tokenizer.json`; when saving, its bytes will do. */
  readonly tokenizerFile?: Tokenizer;
}

/** @throws {OptionError} for what JSON cannot hold. */
function checkedJson(where: string, value: unknown): Uint8Array {
  try {
    return jsonBytes(value);
  } catch {
    throw new OptionError(where, 'plain JSON', value);
  }
}

interface ConfigFile {
  readonly format: 'structured-ffn';
  readonly version: number;
  readonly model: unknown;
}

/**
 * Writes a checkpoint, or replaces one. After a crash at any moment the old or the new one is there, complete.
 * Processes that save to one folder wait for each other.
 * @throws {FileError} also if other files lie in the folder, which is then left as it is. @throws {FormatError} naming
 * a tensor with a value that is not finite.
 */
export function saveCheckpoint(folder: string, checkpoint: Checkpoint<StoredTensor, string | Uint8Array>): void {
  checkPath('saveCheckpoint: folder', folder);
  if (!isObject(checkpoint)) throw new OptionError('saveCheckpoint: checkpoint', 'an object', checkpoint);
  const { dtype, trainer, tokenizerFile } = checkpoint;
  const model = namedTensors('saveCheckpoint: model', checkpoint.model);
  const optimizer = checkpoint.optimizer ? namedTensors('saveCheckpoint: optimizer', checkpoint.optimizer) : null;
  if (dtype !== undefined) checkChoice('saveCheckpoint: dtype', dtype, STORED_DTYPES);
  checkFree(folder);
  for (const [file, tensors] of [
    [WEIGHTS, model],
    [OPTIMIZER, optimizer ?? []],
  ] as const)
    for (const [name, { data }] of tensors) checkFinite(join(folder, file), name, data);
  const config: ConfigFile = { format: 'structured-ffn', version: CHECKPOINT_VERSION, model: checkpoint.config };
  const files = new Map<FileName, Iterable<Uint8Array>>([
    [CONFIG, [checkedJson('saveCheckpoint: config', config)]],
    [WEIGHTS, safetensorsBytes(model, { format: 'structured-ffn', ...(dtype && { dtype }) })],
  ]);
  if (optimizer) files.set(OPTIMIZER, safetensorsBytes(optimizer));
  if (trainer !== undefined) files.set(TRAINER, [checkedJson('saveCheckpoint: trainer', trainer)]);
  if (typeof tokenizerFile === 'string')
    files.set(TOKENIZER, [withFile('read', tokenizerFile, () => readFileSync(tokenizerFile))]);
  else if (tokenizerFile !== undefined) files.set(TOKENIZER, [tokenizerFile]);
  replaceFolder(folder, files);
}

/** A weight of an open checkpoint: where its values are, and the scales of its rows if it has any. */
export interface StoredWeight {
  readonly values: Entry;
  readonly scales: Entry | null;
}

/** A checkpoint whose weights are not read yet. */
export interface OpenCheckpoint extends Disposable {
  readonly config: unknown;
  /** Of the matrices, as the file says. */
  readonly dtype: StoredDType;
  readonly file: SafetensorsInput;
  /** By name, in the order of the header. */
  readonly weights: ReadonlyMap<string, StoredWeight>;
  readonly tokenizerFile: string | undefined;
  /** The optimizer's tensors, from their file. @throws {FormatError} */
  optimizer(): ReadonlyMap<string, TensorData> | undefined;
  /** What `trainer.json` holds. @throws {FormatError} */
  trainer(): unknown;
  /** Reads what was not read yet. @throws {FormatError} unless the weights are those that were saved. */
  verify(): void;
}

function storedDType({ path, metadata }: SafetensorsInput): StoredDType {
  const dtype = metadata.get('dtype') ?? 'float32';
  const known = STORED_DTYPES.find((name) => name === dtype);
  if (known !== undefined) return known;
  throw new FormatError(path, `its matrices are ${dtype}; known are float32, bfloat16 and int8`);
}

/** The rows of a matrix, whose last dimension is that of the columns. */
export const rowsOf = (shape: Shape): number => numel(shape.slice(0, -1));

function weightsOf({ path, entries }: SafetensorsInput, dtype: StoredDType): Map<string, StoredWeight> {
  for (const { name, dtype } of entries)
    if (!isReadable(dtype)) throw new FormatError(path, `tensor '${name}' has dtype ${dtype}, which no checkpoint has`);
  if (dtype !== 'int8') return new Map(entries.map((values) => [values.name, { values, scales: null }]));
  const scalesOf = new Map(entries.filter(({ name }) => name.endsWith(SCALE)).map((entry) => [entry.name, entry]));
  const weights = new Map<string, StoredWeight>();
  for (const values of entries) {
    const { name, shape } = values;
    if (scalesOf.has(name)) continue;
    const scales = scalesOf.get(`${name}${SCALE}`) ?? null;
    if (scales !== null && numel(scales.shape) !== rowsOf(shape))
      throw new FormatError(path, `'${scales.name}' has ${numel(scales.shape)} values for ${rowsOf(shape)} rows`);
    weights.set(name, { values, scales });
  }
  return weights;
}

/** Values times the scale of their row. */
export function widened({ shape, data }: TensorData, scales: TypedArray | undefined): TensorData {
  const columns = shape[shape.length - 1] ?? 1;
  return { shape, data: scales ? data.map((value, i) => value * scales[Math.floor(i / columns)]!) : data };
}

/** All tensors of a file in memory. */
function readAll(input: SafetensorsInput): Map<string, TensorData> {
  const read = new Map<string, TensorData>();
  for (const entry of input.inOrder) {
    const values = input.readValues(entry);
    checkFinite(input.path, entry.name, values.data);
    read.set(entry.name, values);
  }
  return new Map(input.entries.map(({ name }) => [name, read.get(name)!]));
}

function readWhole(path: string, file: number): Uint8Array<ArrayBuffer> {
  return readExactly(path, file, fstatSync(file).size, 0);
}

function parseJson(path: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new FormatError(path, 'it is not JSON');
  }
}

function parseConfig(path: string, bytes: Uint8Array): unknown {
  const file = parseJson(path, bytes) as Partial<ConfigFile> | null;
  if (file?.format !== 'structured-ffn' || file.model === undefined)
    throw new FormatError(path, 'it is not the config of a structured-ffn checkpoint');
  if (file.version !== CHECKPOINT_VERSION)
    throw new FormatError(path, `format version ${file.version}; this release reads ${CHECKPOINT_VERSION}`);
  return file.model;
}

/** A folder. Its small files are read, and checked against the manifest. */
function openFolder(folder: string): OpenCheckpoint {
  const files = OpenFolder.open(folder);
  const place = (name: FileName) => join(files.path, name);
  const bytes = (name: FileName): Uint8Array => {
    const whole = readWhole(place(name), files.file(name));
    files.verify(name, { bytes: whole.length, crc32: crc32(whole) });
    return whole;
  };
  try {
    const config = parseConfig(place(CONFIG), bytes(CONFIG));
    const file = new SafetensorsInput(place(WEIGHTS), files.file(WEIGHTS));
    const dtype = storedDType(file);
    if (files.has(TOKENIZER)) bytes(TOKENIZER);
    return {
      ...{ config, dtype, file, weights: weightsOf(file, dtype) },
      tokenizerFile: files.has(TOKENIZER) ? place(TOKENIZER) : undefined,
      optimizer: () => {
        if (!files.has(OPTIMIZER)) return undefined;
        const input = new SafetensorsInput(place(OPTIMIZER), files.file(OPTIMIZER));
        weightsOf(input, 'float32');
        const tensors = readAll(input);
        files.verify(OPTIMIZER, input.record());
        return tensors;
      },
      trainer: () => (files.has(TRAINER) ? parseJson(place(TRAINER), bytes(TRAINER)) : undefined),
      verify: () => files.verify(WEIGHTS, file.record()),
      [Symbol.dispose]: () => files[Symbol.dispose](),
    };
  } catch (error) {
    files[Symbol.dispose]();
    throw error;
  }
}

/** Any `.safetensors` file with a config next to it. */
function openFile(path: string): OpenCheckpoint {
  const folder = dirname(path);
  const configPath = join(folder, CONFIG);
  const tokenizer = join(folder, TOKENIZER);
  const config = parseConfig(
    configPath,
    withFile('read', configPath, () => readFileSync(configPath)),
  );
  const opened = openSync(path, 'r');
  try {
    const file = new SafetensorsInput(path, opened);
    const dtype = storedDType(file);
    return {
      ...{ config, dtype, file, weights: weightsOf(file, dtype) },
      tokenizerFile: existsSync(tokenizer) ? tokenizer : undefined,
      optimizer: () => undefined,
      trainer: () => undefined,
      verify: () => {},
      [Symbol.dispose]: () => closeSync(opened),
    };
  } catch (error) {
    closeSync(opened);
    throw error;
  }
}

/**
 * Runs `body` with a checkpoint, of which it reads what it needs. The files of a folder belong to one save, even if
 * another process saves meanwhile.
 * @throws {FileError} when it does not exist. @throws {FormatError} for a header or a small file that is damaged.
 */
export function withCheckpoint<T>(path: string, body: (checkpoint: OpenCheckpoint) => T): T {
  return withFile('read', path, () => {
    using checkpoint = path.endsWith('.safetensors') ? openFile(path) : openFolder(path);
    return body(checkpoint);
  });
}

/**
 * Reads a checkpoint folder, or a `.safetensors` file with a `config.json` next to it. The files of a folder belong to
 * one save, even if another process saves meanwhile.
 * @throws {FileError} when it does not exist. @throws {FormatError} for a file that is damaged or belongs to another
 * save than the others, and for a tensor with a value that is not finite.
 */
export function loadCheckpoint(path: string): Checkpoint {
  checkPath('loadCheckpoint: path', path);
  return withCheckpoint(path, (open) => {
    const tensors = readAll(open.file);
    open.verify();
    const valuesOf = (entry: Entry) => tensors.get(entry.name)!;
    return {
      config: open.config,
      dtype: open.dtype,
      model: new Map(
        [...open.weights].map(([name, { values, scales }]) => [
          name,
          widened(valuesOf(values), scales === null ? undefined : valuesOf(scales).data),
        ]),
      ),
      optimizer: open.optimizer(),
      trainer: open.trainer(),
      tokenizerFile: open.tokenizerFile,
    };
  });
}
