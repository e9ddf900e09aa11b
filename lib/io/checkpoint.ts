/**
 * A checkpoint is a folder: `model.safetensors`, `config.json`, and, if training is to go on, `optimizer.safetensors`
 * and `trainer.json`. `manifest.json` lists them with their checksums. store.ts replaces the folder as a whole.
 */
import { closeSync, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { checkPath, FormatError, OptionError } from '../errors';
import { isObject } from '../options';
import { jsonBytes, readExactly, withFile } from './files';
import { checkFinite } from './finite';
import { CONFIG, type FileName } from './manifest';
import { OpenFolder } from './open_folder';
import {
  readSafetensors,
  type SafetensorsFile,
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
  const { model, dtype, optimizer, trainer, tokenizerFile } = checkpoint;
  checkFree(folder);
  for (const [file, tensors] of [
    [WEIGHTS, model],
    [OPTIMIZER, optimizer ?? []],
  ] as const)
    for (const [name, { data }] of tensors) checkFinite(join(folder, file), name, data);
  const config: ConfigFile = { format: 'structured-ffn', version: CHECKPOINT_VERSION, model: checkpoint.config };
  const files = new Map<FileName, Iterable<Uint8Array>>([
    [CONFIG, [jsonBytes(config)]],
    [WEIGHTS, safetensorsBytes(model, { format: 'structured-ffn', ...(dtype && { dtype }) })],
  ]);
  if (optimizer) files.set(OPTIMIZER, safetensorsBytes(optimizer));
  if (trainer !== undefined) files.set(TRAINER, [jsonBytes(trainer)]);
  if (typeof tokenizerFile === 'string')
    files.set(TOKENIZER, [withFile('read', tokenizerFile, () => readFileSync(tokenizerFile))]);
  else if (tokenizerFile !== undefined) files.set(TOKENIZER, [tokenizerFile]);
  replaceFolder(folder, files);
}

/** int8 values times the scale of their row. */
function widened(path: string, { tensors, metadata }: SafetensorsFile): ReadonlyMap<string, TensorData> {
  if (metadata.get('dtype') !== 'int8') return tensors;
  const wide = new Map<string, TensorData>();
  for (const [name, { shape, data }] of tensors) {
    if (name.endsWith(SCALE)) continue;
    const scales = tensors.get(`${name}${SCALE}`)?.data;
    const columns = shape[shape.length - 1] ?? 1;
    if (scales && scales.length * columns !== data.length)
      throw new FormatError(path, `'${name}${SCALE}' has ${scales.length} values for ${data.length / columns} rows`);
    wide.set(name, { shape, data: scales ? data.map((value, i) => value * scales[Math.floor(i / columns)]!) : data });
  }
  return wide;
}

function storedDType(path: string, { metadata }: SafetensorsFile): StoredDType {
  const dtype = metadata.get('dtype') ?? 'float32';
  if (dtype === 'float32' || dtype === 'bfloat16' || dtype === 'int8') return dtype;
  throw new FormatError(path, `its matrices are ${dtype}; known are float32, bfloat16 and int8`);
}

/** All tensors of an open file: of dtypes that are read, and finite. */
function readTensors(path: string, file: number): ReturnType<typeof readSafetensors> {
  const read = readSafetensors(path, file);
  for (const [name, dtype] of read.unread)
    throw new FormatError(path, `tensor '${name}' has dtype ${dtype}, which no checkpoint has`);
  for (const [name, { data }] of read.tensors) checkFinite(path, name, data);
  return read;
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

/** The parts of a folder, each checked against the manifest. */
function loadFolder(folder: string): Checkpoint {
  using files = OpenFolder.open(folder);
  const place = (name: FileName) => join(files.path, name);
  const bytes = (name: FileName): Uint8Array => {
    const whole = readWhole(place(name), files.file(name));
    files.verify(name, { bytes: whole.length, crc32: crc32(whole) });
    return whole;
  };
  const tensors = (name: FileName): SafetensorsFile => {
    const { record, ...read } = readTensors(place(name), files.file(name));
    files.verify(name, record);
    return read;
  };
  const config = parseConfig(place(CONFIG), bytes(CONFIG));
  const weights = tensors(WEIGHTS);
  if (files.has(TOKENIZER)) bytes(TOKENIZER);
  return {
    config,
    dtype: storedDType(place(WEIGHTS), weights),
    model: widened(place(WEIGHTS), weights),
    optimizer: files.has(OPTIMIZER) ? tensors(OPTIMIZER).tensors : undefined,
    trainer: files.has(TRAINER) ? parseJson(place(TRAINER), bytes(TRAINER)) : undefined,
    tokenizerFile: files.has(TOKENIZER) ? place(TOKENIZER) : undefined,
  };
}

/** Any `.safetensors` file with a config next to it. */
function loadFile(path: string): Checkpoint {
  const folder = dirname(path);
  const configPath = join(folder, CONFIG);
  const tokenizer = join(folder, TOKENIZER);
  return withFile('read', path, () => {
    const config = parseConfig(
      configPath,
      withFile('read', configPath, () => readFileSync(configPath)),
    );
    const file = openSync(path, 'r');
    try {
      const weights = readTensors(path, file);
      return {
        config,
        dtype: storedDType(path, weights),
        model: widened(path, weights),
        tokenizerFile: existsSync(tokenizer) ? tokenizer : undefined,
      };
    } finally {
      closeSync(file);
    }
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
  return path.endsWith('.safetensors') ? loadFile(path) : withFile('read', path, () => loadFolder(path));
}
