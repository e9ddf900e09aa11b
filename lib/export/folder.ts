/** The folder of an export: written beside its place, moved in when it is whole. */
import { existsSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { FileError } from '../errors';
import { makeFolder, withFile } from '../io/files';
import { isCheckpoint } from '../io/manifest';
import type { OptionNames } from '../options';

export interface FolderOptions {
  /** Whether files of the same names in a folder that is not empty are replaced; others stay. Default: false. */
  readonly force?: boolean;
}

export const FOLDER_OPTIONS: OptionNames<FolderOptions> = { force: 0 };

/** @throws {FileError} when an export must not go there. */
function checkPlace(folder: string, force: boolean): void {
  const names = existsSync(folder) ? withFile('write', folder, () => readdirSync(folder)) : [];
  if (names.length === 0) return;
  if (isCheckpoint(folder)) throw new FileError(`cannot write ${folder}: it holds a checkpoint of structured-ffn`);
  if (!force)
    throw new FileError(`cannot write ${folder}: it is not empty (with force, files of the same names are replaced)`);
}

/**
 * Calls `write` with an empty folder, whose files then go to `folder`. When anything fails, `folder` is as it was.
 * @throws {FileError} and what `write` throws.
 */
export function writeFolder(folder: string, { force = false }: FolderOptions, write: (fresh: string) => void): void {
  checkPlace(folder, force);
  const fresh = `${folder}.${process.pid}.tmp`;
  withFile('write', folder, () => {
    try {
      makeFolder(fresh);
      write(fresh);
      if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
      if (!existsSync(folder)) renameSync(fresh, folder);
      else for (const name of readdirSync(fresh)) renameSync(join(fresh, name), join(folder, name));
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
  });
}
