/** The folder of an export: written beside its place, moved in when it is whole. */
import { randomUUID } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { FileError } from '../errors';
import { makeFolder, realPath, withFile } from '../io/files';
import { checkpointAround, holdsCheckpoint } from '../io/manifest';
import type { OptionNames } from '../options';

/** Options of every export. */
export interface FolderOptions {
  /** Whether files of the same names in a non-empty folder are replaced; other files stay. Default: false. */
  readonly force?: boolean;
}

export const FOLDER_OPTIONS: OptionNames<FolderOptions> = { force: 0 };

/** @throws {FileError} when an export must not go there. */
function checkPlace(folder: string, force: boolean): void {
  if (holdsCheckpoint(resolve(folder)))
    throw new FileError(`cannot write ${folder}: it holds a checkpoint of structured-ffn`);
  const around = checkpointAround(realPath(folder));
  if (around !== undefined)
    throw new FileError(`cannot write ${folder}: it lies in ${around}, a checkpoint of structured-ffn`);
  const names = existsSync(folder) ? withFile('write', folder, () => readdirSync(folder)) : [];
  if (names.length === 0) return;
  if (!force)
    throw new FileError(`cannot write ${folder}: it is not empty (with force, files of the same names are replaced)`);
}

/** Paths of all files below, from there. */
export const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));

/** Moves files to a folder that has others. A crash leaves too few of them, never some of the old beside some of the new. */
function moveInto(folder: string, fresh: string): void {
  const moves = filesBelow(fresh).map((name) => [join(fresh, name), join(folder, name)] as const);
  for (const [, to] of moves)
    if (lstatSync(to, { throwIfNoEntry: false })?.isDirectory())
      throw new FileError(`cannot write ${to}: it is a folder`);
  for (const [, to] of moves) rmSync(to, { force: true });
  for (const [from, to] of moves) {
    makeFolder(dirname(to));
    renameSync(from, to);
  }
}

/**
 * Calls `write` with an empty folder, whose files are then moved to `folder`. If anything fails, `folder` is unchanged.
 * @throws {FileError} and what `write` throws.
 */
export function writeFolder(folder: string, { force = false }: FolderOptions, write: (fresh: string) => void): void {
  checkPlace(folder, force);
  withFile('write', folder, () => {
    // Beside the folder itself, where the name is a link to it.
    const place = realPath(folder);
    const fresh = `${place}.${randomUUID()}.tmp`;
    try {
      makeFolder(fresh);
      write(fresh);
      if (existsSync(place) && readdirSync(place).length === 0) rmdirSync(place);
      if (existsSync(place)) moveInto(place, fresh);
      else renameSync(fresh, place);
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
  });
}
