/** Where a run goes: a new numbered folder, or the folder that the user names. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  attempt,
  makeFolder,
  missingFolders,
  realPath,
  systemCode,
  UNIQUE,
  uniquePart,
  wayInto,
  withFile,
} from '../io/files';
import { lock } from '../io/lock';
import { holdsCheckpoint, standIn } from '../io/manifest';
import { checkFree } from '../io/store';
import type { TrainConfig } from '../train';
import { UsageError } from './failure';
import { writeOptions } from './options_file';
import { checkOutside } from './outside';

/**
 * A run's folder holds its checkpoint and a folder with its token files, of a name of its own. So a run that replaces
 * another one touches nothing of it before its first checkpoint takes the place of the other's.
 */
export interface RunFolder extends Disposable {
  readonly path: string;
  /** Where its checkpoints go. */
  readonly checkpoint: string;
  /** Where its token files and its tokenizer go; made by those who write them. */
  readonly tokens: string;
  /**
   * To be told of each checkpoint. At the first one in its place, the token files of other runs are removed, but for
   * those that this one reads, its options are written, and `runs/latest` points to this run if it is a numbered one.
   * If it cannot, returns why.
   */
  saved(checkpoint: string, data: TrainConfig['data']): string | null;
}

/** Numbered runs, below the working folder. */
const RUNS = 'runs';
const LATEST = 'latest';

const TOKENS = new RegExp(`^tokens\\.${UNIQUE}$`);
/** A file that was not completed has more in its name. */
const INCOMPLETE = new RegExp(`\\.${UNIQUE}\\.tmp$`);
/** The files in a folder of tokens. */
export const TOKEN_FILES = { train: 'train.bin', validation: 'validation.bin', tokenizer: 'tokenizer.json' } as const;

/** runs/1, runs/2, ...: the first that is free, and later than all that are there. */
function nextNumbered(root: string): string {
  return withFile('write', root, () => {
    makeFolder(root);
    const numbers = readdirSync(root).map((name) => (/^[1-9]\d{0,14}$/.test(name) ? Number(name) : 0));
    for (let number = Math.max(0, ...numbers) + 1; ; number++)
      try {
        mkdirSync(join(root, String(number)));
        return join(root, String(number));
      } catch (error) {
        // Another run took it.
        if (systemCode(error) !== 'EEXIST') throw error;
      }
  });
}

/** @throws {UsageError} for a folder that already holds a run, unless it may be replaced. */
function named(out: string, path: string, force: boolean): string {
  if (existsSync(path) && !statSync(path).isDirectory())
    throw new UsageError(`--out ${out}: it is a file, not a folder`);
  const checkpoint = join(path, 'checkpoint');
  if (!force && holdsCheckpoint(checkpoint))
    throw new UsageError(
      `--out ${out}: it holds a run; --resume ${join(out, 'checkpoint')} goes on with it, --force replaces it`,
    );
  checkFree(checkpoint);
  return path;
}

function link(path: string): string | null {
  const place = join(dirname(path), LATEST);
  if (lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink() === false)
    return `${place} is not a link and stays as it is; this run is ${path}`;
  const temporary = `${place}.${uniquePart()}.tmp`;
  try {
    symlinkSync(process.platform === 'win32' ? path : basename(path), temporary, 'junction');
    renameSync(temporary, place);
    return null;
  } catch (error) {
    attempt(() => rmSync(temporary, { force: true }));
    if (systemCode(error) === undefined) throw error;
    return `${place} could not be made: ${(error as Error).message}`;
  }
}

/** Removes a folder of token files; what else somebody put into it stays. */
function removeTokens(folder: string): void {
  attempt(() => {
    const ours: readonly string[] = Object.values(TOKEN_FILES);
    for (const name of readdirSync(folder)) if (ours.includes(name.replace(INCOMPLETE, ''))) rmSync(join(folder, name));
    rmdirSync(folder);
  });
}

const reads = ({ train, validation }: TrainConfig['data'], folder: string): boolean =>
  [train, validation].some((file) => file !== undefined && wayInto(folder, file) !== undefined);

/** Whether the checkpoint goes on with these tokens. What cannot be read may do so. */
function needs(checkpoint: string, tokens: string): boolean {
  try {
    const place = existsSync(checkpoint) ? checkpoint : standIn(checkpoint);
    return place !== undefined && readFileSync(join(place, 'trainer.json'), 'utf8').includes(basename(tokens));
  } catch (error) {
    return systemCode(error) !== 'ENOENT';
  }
}

/**
 * The folder of a new run, this process's alone until it is disposed. A run that ends without a checkpoint leaves
 * nothing in it.
 * @param out what the user names. Default: the next number in `runs`.
 * @param force whether a run that is there may be replaced.
 * @param options for its options file.
 * @throws {UsageError} for a folder with a run, and for one inside a checkpoint. @throws {FileError} for one that another
 * process is using.
 */
export function openRunFolder(
  out: string | undefined,
  force = false,
  options: Readonly<Record<string, unknown>> = {},
): RunFolder {
  checkOutside(out === undefined ? RUNS : `--out ${out}`, out ?? RUNS);
  const root = realPath(out ?? RUNS);
  const absent = missingFolders(root);
  const path = out === undefined ? nextNumbered(root) : named(out, root, force);
  const removeMade = () => {
    for (const made of out === undefined ? [path, ...absent] : absent) attempt(() => rmdirSync(made));
  };
  const checkpoint = join(path, 'checkpoint');
  const tokens = join(path, `tokens.${uniquePart()}`);
  let held: Disposable;
  try {
    // In the folder itself, because the parent folder may not be writable.
    held = lock(path, 0, join(path, 'run.lock'));
  } catch (error) {
    removeMade();
    throw error;
  }
  let kept = false;
  let inPlace = false;
  return {
    path,
    checkpoint,
    tokens,
    saved(folder, data) {
      kept = true;
      if (inPlace || folder !== checkpoint) return null;
      inPlace = true;
      attempt(() => {
        for (const name of readdirSync(path))
          if (TOKENS.test(name) && !reads(data, join(path, name))) removeTokens(join(path, name));
      });
      const failures = [writeOptions(path, options), out === undefined ? link(path) : null];
      return failures.filter((failure) => failure !== null).join('; ') || null;
    },
    [Symbol.dispose]() {
      if (!kept && !needs(checkpoint, tokens)) removeTokens(tokens);
      held[Symbol.dispose]();
      removeMade();
    },
  };
}
