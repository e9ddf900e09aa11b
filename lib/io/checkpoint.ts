/**
 * A checkpoint is a folder: `model.safetensors`, `config.json`, and, to go on training, `optimizer.safetensors` and
 * `trainer.json`. It is written beside the old one and swapped in, so a crash never costs the last good checkpoint.
 */
import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { FileError, FormatError } from '../errors';
import { readJson, withFile, writeJson } from './files';
import {
  loadSafetensors,
  type SafetensorsFile,
  type StoredTensor,
  saveSafetensors,
  type TensorData,
} from './safetensors';

export const CHECKPOINT_VERSION = 1;

/** Ends the names of the scales of int8 matrices. */
export const SCALE = '.scale';

/** How the matrices of a checkpoint are stored. */
export type StoredDType = 'float32' | 'bfloat16' | 'int8';

export interface Checkpoint<Values = TensorData> {
  readonly model: ReadonlyMap<string, Values>;
  /** Of the matrices; values are float32 in memory. int8 ones have `NAME.scale` beside them in the file. Default: float32. */
  readonly dtype?: StoredDType;
  /** The model's config. */
  readonly config: unknown;
  /** Moments of the optimizer. */
  readonly optimizer?: ReadonlyMap<string, TensorData>;
  /** Everything else that a trainer needs to go on bit by bit; plain JSON. */
  readonly trainer?: unknown;
  /** A file to keep beside the weights as `tokenizer.json`. */
  readonly tokenizerFile?: string;
}

interface ConfigFile {
  readonly format: 'structured-ffn';
  readonly version: number;
  readonly model: unknown;
}

/** @throws {FileError} */
export function saveCheckpoint(folder: string, checkpoint: Checkpoint<StoredTensor>): void {
  const fresh = `${folder}.tmp`;
  const old = `${folder}.old`;
  withFile('write', folder, () => {
    rmSync(fresh, { recursive: true, force: true });
    mkdirSync(fresh, { recursive: true });
    const config: ConfigFile = { format: 'structured-ffn', version: CHECKPOINT_VERSION, model: checkpoint.config };
    writeJson(join(fresh, 'config.json'), config);
    saveSafetensors(join(fresh, 'model.safetensors'), checkpoint.model, {
      format: 'structured-ffn',
      ...(checkpoint.dtype && { dtype: checkpoint.dtype }),
    });
    if (checkpoint.optimizer) saveSafetensors(join(fresh, 'optimizer.safetensors'), checkpoint.optimizer);
    if (checkpoint.trainer !== undefined) writeJson(join(fresh, 'trainer.json'), checkpoint.trainer);
    if (checkpoint.tokenizerFile !== undefined) cpSync(checkpoint.tokenizerFile, join(fresh, 'tokenizer.json'));
    rmSync(old, { recursive: true, force: true });
    if (existsSync(folder)) renameSync(folder, old);
    renameSync(fresh, folder);
    rmSync(old, { recursive: true, force: true });
  });
}

/** The folder of a checkpoint, or of the one before it where a crash came between the two renames. */
function locate(folder: string): string {
  if (existsSync(folder)) return folder;
  const old = join(dirname(folder), `${basename(folder)}.old`);
  if (existsSync(old)) return old;
  throw new FileError(`cannot read ${folder}: no such checkpoint`);
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

/**
 * Reads a checkpoint folder, or a `.safetensors` file with a `config.json` beside it.
 * @throws {FileError | FormatError}
 */
export function loadCheckpoint(path: string): Checkpoint {
  const single = path.endsWith('.safetensors');
  const folder = single ? dirname(path) : locate(path);
  const configPath = join(folder, 'config.json');
  const file = readJson(configPath) as Partial<ConfigFile> | null;
  if (file?.format !== 'structured-ffn' || file.model === undefined)
    throw new FormatError(configPath, 'it is not the config of a structured-ffn checkpoint');
  if (file.version !== CHECKPOINT_VERSION)
    throw new FormatError(configPath, `format version ${file.version}; this release reads ${CHECKPOINT_VERSION}`);
  const has = (name: string) => !single && existsSync(join(folder, name));
  const weightsPath = single ? path : join(folder, 'model.safetensors');
  const weights = loadSafetensors(weightsPath);
  return {
    config: file.model,
    dtype: storedDType(weightsPath, weights),
    model: widened(weightsPath, weights),
    optimizer: has('optimizer.safetensors')
      ? loadSafetensors(join(folder, 'optimizer.safetensors')).tensors
      : undefined,
    trainer: has('trainer.json') ? readJson(join(folder, 'trainer.json')) : undefined,
    tokenizerFile: existsSync(join(folder, 'tokenizer.json')) ? join(folder, 'tokenizer.json') : undefined,
  };
}
