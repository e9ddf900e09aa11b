/**
 * A checkpoint is a folder: `model.safetensors`, `config.json`, and, to go on training, `optimizer.safetensors` and
 * `trainer.json`. It is written beside the old one and swapped in, so a crash never costs the last good checkpoint.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { FileError, FormatError } from '../errors';
import { withFile, writeJson } from './files';
import { loadSafetensors, saveSafetensors, type TensorData } from './safetensors';

export const CHECKPOINT_VERSION = 1;

export interface Checkpoint {
  readonly model: ReadonlyMap<string, TensorData>;
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
export function saveCheckpoint(folder: string, checkpoint: Checkpoint): void {
  const fresh = `${folder}.tmp`;
  const old = `${folder}.old`;
  withFile('write', folder, () => {
    rmSync(fresh, { recursive: true, force: true });
    mkdirSync(fresh, { recursive: true });
    const config: ConfigFile = { format: 'structured-ffn', version: CHECKPOINT_VERSION, model: checkpoint.config };
    writeJson(join(fresh, 'config.json'), config);
    saveSafetensors(join(fresh, 'model.safetensors'), checkpoint.model, { format: 'structured-ffn' });
    if (checkpoint.optimizer) saveSafetensors(join(fresh, 'optimizer.safetensors'), checkpoint.optimizer);
    if (checkpoint.trainer !== undefined) writeJson(join(fresh, 'trainer.json'), checkpoint.trainer);
    if (checkpoint.tokenizerFile !== undefined) cpSync(checkpoint.tokenizerFile, join(fresh, 'tokenizer.json'));
    rmSync(old, { recursive: true, force: true });
    if (existsSync(folder)) renameSync(folder, old);
    renameSync(fresh, folder);
    rmSync(old, { recursive: true, force: true });
  });
}

function readJson(path: string): unknown {
  const text = withFile('read', path, () => readFileSync(path, 'utf8'));
  try {
    return JSON.parse(text);
  } catch {
    throw new FormatError(path, 'it is no JSON');
  }
}

/** The folder of a checkpoint, or of the one before it where a crash came between the two renames. */
function locate(folder: string): string {
  if (existsSync(folder)) return folder;
  const old = join(dirname(folder), `${basename(folder)}.old`);
  if (existsSync(old)) return old;
  throw new FileError(`cannot read ${folder}: no such checkpoint`);
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
  return {
    config: file.model,
    model: loadSafetensors(single ? path : join(folder, 'model.safetensors')).tensors,
    optimizer: has('optimizer.safetensors')
      ? loadSafetensors(join(folder, 'optimizer.safetensors')).tensors
      : undefined,
    trainer: has('trainer.json') ? readJson(join(folder, 'trainer.json')) : undefined,
    tokenizerFile: existsSync(join(folder, 'tokenizer.json')) ? join(folder, 'tokenizer.json') : undefined,
  };
}
