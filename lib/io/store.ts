/**
 * Folders that are replaced as a whole. A new one is written next to the old and flushed to the disk, its manifest
 * last. Then the old one is renamed, the new one takes its place, and the old one is removed. At each moment a complete
 * one exists: OpenFolder finds it, and the next save moves it back to its place before it removes anything. Only files
 * of known names are ever removed. Other files in a folder move on into the new one.
 */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  statfsSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { FileError } from '../errors';
import {
  attempt,
  checkNoLinkToNothing,
  jsonBytes,
  makeFolder,
  missingFolders,
  realPath,
  syncFolder,
  uniquePart,
  withFile,
  writeNew,
} from './files';
import { lock } from './lock';
import { CONFIG, type FileName, isOurs, leftovers, MANIFEST, NAMES, newManifest, standIn } from './manifest';

/** How long a save waits for another process that saves to the same place, in milliseconds. */
const PATIENCE = 60_000;

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Removes our files; everything else moves into `folder`. What cannot be done now is left for the next save. */
function discard(path: string, folder: string): void {
  attempt(() => {
    const names = readdirSync(path);
    for (const name of NAMES) if (names.includes(name)) unlinkSync(join(path, name));
    for (const name of names)
      if (!(NAMES as readonly string[]).includes(name) && !exists(join(folder, name)))
        renameSync(join(path, name), join(folder, name));
    rmdirSync(path);
  });
}

/** Tidies up after a crash. */
function recover(folder: string): void {
  if (!existsSync(folder)) {
    const path = standIn(folder);
    if (path === undefined) for (const left of leftovers(folder)) discard(left, left);
    else {
      renameSync(path, folder);
      syncFolder(dirname(folder));
    }
  }
  if (existsSync(folder)) for (const path of leftovers(folder)) discard(path, folder);
}

/** @throws {FileError} unless `folder` is free for a checkpoint: missing, empty, or a checkpoint of ours. */
export function checkFree(folder: string): void {
  withFile('write', folder, () => {
    checkNoLinkToNothing(folder);
    if (!existsSync(folder)) return;
    if (!statSync(folder).isDirectory()) throw new FileError(`cannot write ${folder}: it is a file, not a folder`);
    if (readdirSync(folder).length > 0 && !isOurs(folder))
      throw new FileError(`cannot write ${folder}: it is a folder with something else in it, no checkpoint`);
  });
}

/**
 * Tries everything that saving to `folder` needs, before there is anything to save.
 * @param bytes size of a checkpoint. @throws {FileError}
 */
export function checkPlace(folder: string, bytes: number): void {
  checkFree(folder);
  const place = realPath(folder);
  withFile('write', folder, () => {
    const parent = dirname(place);
    makeFolder(parent);
    using _ = lock(place, PATIENCE);
    const unique = `${place}.${uniquePart()}`;
    const probes = [`${unique}.tmp`, `${unique}.old`] as const;
    try {
      mkdirSync(probes[0]);
      writeNew(join(probes[0], CONFIG), [jsonBytes({})]);
      renameSync(...probes);
    } finally {
      for (const path of probes) if (existsSync(path)) discard(path, path);
    }
    const { bavail, bsize } = statfsSync(parent);
    if (bavail * bsize < bytes)
      throw new FileError(
        `cannot write ${folder}: a checkpoint has about ${megabytes(bytes)}, and ${megabytes(bavail * bsize)} are free`,
      );
  });
}

const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6).toLocaleString('en')} MB`;

/**
 * Replaces `folder` by one with these files. After a crash at any point the old one or the new one is there, complete;
 * after an error, the old one. @throws {FileError}, also for a folder that is not a checkpoint, which is left as it is.
 */
export function replaceFolder(folder: string, files: ReadonlyMap<FileName, Iterable<Uint8Array>>): void {
  withFile('write', folder, () => {
    checkFree(folder);
    const place = realPath(folder);
    const missing = missingFolders(dirname(place));
    try {
      makeFolder(dirname(place));
      const held = lock(place, PATIENCE);
      try {
        recover(place);
        writeAndSwap(place, files);
      } finally {
        // Not by `using`, which would put an error here around the one before.
        held[Symbol.dispose]();
      }
    } catch (error) {
      for (const made of missing) attempt(() => rmdirSync(made));
      throw error;
    }
  });
}

/** To be called while holding the lock. */
function writeAndSwap(place: string, files: ReadonlyMap<FileName, Iterable<Uint8Array>>): void {
  const unique = `${place}.${uniquePart()}`;
  const [fresh, old] = [`${unique}.tmp`, `${unique}.old`];
  try {
    mkdirSync(fresh);
    const records = [...files].map(([name, parts]) => [name, writeNew(join(fresh, name), parts)] as const);
    writeNew(join(fresh, MANIFEST), [jsonBytes(newManifest(Date.now(), Object.fromEntries(records)))]);
    syncFolder(fresh);
    checkFree(place);
    swap(place, fresh, old);
  } catch (error) {
    // Never the only one left.
    if (existsSync(place) || !existsSync(old)) discard(fresh, fresh);
    throw error;
  }
  syncFolder(dirname(place));
  if (existsSync(old)) discard(old, place);
}

function swap(place: string, fresh: string, old: string): void {
  const replaces = existsSync(place);
  if (replaces) renameSync(place, old);
  try {
    renameSync(fresh, place);
  } catch (error) {
    if (replaces) attempt(() => renameSync(old, place));
    throw error;
  }
}
