/** Where a run goes: a new numbered folder, or the folder that the user names. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { attempt, makeFolder, systemCode, uniquePart, withFile } from '../io/files';
import { lock } from '../io/lock';
import { isCheckpoint } from '../io/manifest';
import { UsageError } from './failure';

export interface RunFolder extends Disposable {
  readonly path: string;
  /** Makes `runs/latest` point to this run if it is a numbered one. If it cannot, returns why. */
  publish(): string | null;
}

/** Numbered runs, below the working folder. */
const RUNS = 'runs';
const LATEST = 'latest';

/** runs/1, runs/2, ...: the first that is free, and later than all that are there. */
function nextNumbered(): string {
  const root = resolve(RUNS);
  return withFile('write', root, () => {
    makeFolder(root);
    const numbers = readdirSync(root).map((name) => (/^[1-9]\d*$/.test(name) ? Number(name) : 0));
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
function named(out: string, force: boolean): string {
  const path = resolve(out);
  if (existsSync(path) && !statSync(path).isDirectory())
    throw new UsageError(`--out ${out}: it is a file, not a folder`);
  const checkpoint = join(path, 'checkpoint');
  if (!force && isCheckpoint(checkpoint))
    throw new UsageError(
      `--out ${out}: it holds a run; --resume ${join(out, 'checkpoint')} goes on with it, --force replaces it`,
    );
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

/**
 * The folder of a new run, this process's alone until it is disposed.
 * @param out what the user names. Default: the next number in `runs`.
 * @param force whether a run that is there may be replaced.
 * @throws {UsageError} for a folder with a run. @throws {FileError} for one that another process is using.
 */
export function openRunFolder(out: string | undefined, force = false): RunFolder {
  const path = out === undefined ? nextNumbered() : named(out, force);
  // In the folder itself, because the parent folder may not be writable.
  const held = lock(path, 0, join(path, 'run.lock'));
  return {
    path,
    publish: () => (out === undefined ? link(path) : null),
    [Symbol.dispose]() {
      held[Symbol.dispose]();
      // A run that ended before its first file.
      if (out === undefined) attempt(() => rmdirSync(path));
    },
  };
}
