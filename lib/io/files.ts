/** Files, with errors that say which file and why. Writes are complete or do not happen. */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { crc32 } from 'node:zlib';
import { FileError, FormatError } from '../errors';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EISDIR: 'it is a folder',
  EEXIST: 'it exists already',
  ELOOP: 'its links lead in a circle',
  ENAMETOOLONG: 'the name is too long',
  ENOTDIR: 'a part of the path is a file',
  ENOSPC: 'no space left',
  EFBIG: 'the file is too large',
  EDQUOT: 'no space left for this user',
  EROFS: 'the file system is read-only',
  EIO: 'the disk reports an error',
};

/** Node takes at most 2 GiB in one call. */
const PIECE = 1 << 28;

/** The code of a system error; undefined for all other errors. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

/** The code of Node's own limits on what it reads at once. */
function limitCode(error: unknown): string | undefined {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ERR_FS_FILE_TOO_LARGE' || code === 'ERR_STRING_TOO_LONG' ? 'EFBIG' : undefined;
}

/** Runs a file operation; its system error becomes a FileError. */
export function withFile<T>(doing: string, path: string, operation: () => T): T {
  try {
    return operation();
  } catch (cause) {
    const code = systemCode(cause) ?? limitCode(cause);
    if (code === undefined) throw cause;
    throw new FileError(`cannot ${doing} ${path}: ${REASONS[code] ?? code}`, { cause });
  }
}

/** Does something that may fail without harm; only system errors are ignored. */
export function attempt(operation: () => void): void {
  try {
    operation();
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
  }
}

/** A part of a name that no other process, thread or call uses. */
export const uniquePart = (): string => `${process.pid}-${randomBytes(6).toString('hex')}`;

/** The pattern of unique parts. */
export const UNIQUE = '\\d+-[0-9a-f]{12}';

/** An absolute path without links, as far as it exists. */
export function realPath(path: string): string {
  const absolute = resolve(path);
  if (existsSync(absolute)) return realpathSync(absolute);
  const parent = dirname(absolute);
  return parent === absolute ? absolute : join(realPath(parent), basename(absolute));
}

/** The way from a folder to what lies in it; undefined for what lies elsewhere. Links are followed. */
export function wayInto(folder: string, path: string): string | undefined {
  const way = relative(realPath(folder), realPath(path));
  return isAbsolute(way) || way.split(sep)[0] === '..' ? undefined : way;
}

/** A file in the user's cache folder. A variable that is empty counts as one that is not set. */
export const cacheFile = (name: string): string =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'structured-ffn', name);

/** Size and checksum of a file. */
export interface FileRecord {
  readonly bytes: number;
  readonly crc32: number;
}

/**
 * Writes a file that does not exist yet, and flushes it to the disk. A failed write leaves no file. Throws system
 * errors.
 */
export function writeNew(path: string, parts: Iterable<Uint8Array>): FileRecord {
  let bytes = 0;
  let sum = 0;
  const file = openSync(path, 'wx');
  try {
    for (const part of parts) {
      for (let at = 0; at < part.length; ) at += writeSync(file, part, at, Math.min(part.length - at, PIECE));
      sum = crc32(part, sum);
      bytes += part.length;
    }
    fsyncSync(file);
    closeSync(file);
  } catch (error) {
    attempt(() => closeSync(file));
    attempt(() => rmSync(path, { force: true }));
    throw error;
  }
  return { bytes, crc32: sum };
}

/** Makes a folder and its parents. Node's own way never returns where nothing can be made, as in /proc. */
export function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    // Another process was faster.
    checkNoLinkToNothing(path);
  }
}

/** @throws {FileError} for a link to nothing: nothing is there, and still the name is taken. */
export function checkNoLinkToNothing(path: string): void {
  if (!existsSync(path) && lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink())
    throw new FileError(`cannot write ${path}: it is a link to nothing`);
}

/** Of a path, the folders that do not exist, the innermost first. */
export function missingFolders(path: string): string[] {
  return existsSync(path) ? [] : [path, ...missingFolders(dirname(path))];
}

/** Flushes the names in a folder to the disk. Windows has no such call; some file systems refuse it. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const file = openSync(folder, 'r');
  try {
    fsyncSync(file);
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP'].includes(systemCode(error) ?? '')) throw error;
  } finally {
    closeSync(file);
  }
}

/** @throws {FileError} for what cannot be replaced by a file: a folder, a device, a pipe. */
function checkReplaceable(path: string): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats !== undefined && !stats.isFile())
    throw new FileError(`cannot write ${path}: it is ${stats.isDirectory() ? 'a folder' : 'no regular file'}`);
}

/**
 * Writes the parts to `path`, or to the file that it is a link to, so that a crash leaves either the old file or the new
 * one. @throws {FileError}
 */
export function writeAtomically(path: string, parts: Iterable<Uint8Array>): void {
  withFile('write', path, () => {
    checkReplaceable(path);
    const place = realPath(path);
    const temporary = `${place}.${uniquePart()}.tmp`;
    makeFolder(dirname(place));
    writeNew(temporary, parts);
    try {
      renameSync(temporary, place);
    } catch (error) {
      attempt(() => rmSync(temporary, { force: true }));
      throw error;
    }
    syncFolder(dirname(place));
  });
}

/** A JSON document. `remedy` ends the message for a file that is not JSON. @throws {FileError | FormatError} */
export function readJson(path: string, remedy = ''): unknown {
  const text = withFile('read', path, () => readFileSync(path, 'utf8'));
  try {
    return JSON.parse(text);
  } catch {
    throw new FormatError(path, `it is not JSON${remedy}`);
  }
}

/** Tries to write a file next to `path`, and leaves everything as it was. @throws {FileError} */
export function checkWritable(path: string): void {
  withFile('write', path, () => {
    checkReplaceable(path);
    const place = realPath(path);
    const temporary = `${place}.${uniquePart()}.tmp`;
    const missing = missingFolders(dirname(place));
    try {
      makeFolder(dirname(place));
      writeNew(temporary, [Buffer.from(' ')]);
      rmSync(temporary);
    } finally {
      for (const made of missing) attempt(() => rmdirSync(made));
    }
  });
}

/** The text of a value in all our JSON files. */
export const jsonBytes = (value: unknown): Uint8Array => Buffer.from(`${JSON.stringify(value, null, 2)}\n`);

/** Writes a JSON document, completely or not at all. @throws {FileError} */
export function writeJson(path: string, value: unknown): void {
  writeAtomically(path, [jsonBytes(value)]);
}

/** Bytes of an open file. @throws {FormatError} when it ends before. Throws system errors. */
export function readExactly(path: string, file: number, length: number, position: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  readInto(path, file, bytes, position);
  return bytes;
}

/** What is still in the processor's cache when it was read. */
const CACHED = 1 << 18;

/**
 * Fills `bytes` from an open file, and goes on from the checksum `sum` with them. @throws {FormatError} when it ends
 * before. Throws system errors.
 */
export function readInto(path: string, file: number, bytes: Uint8Array, position: number, sum = 0): number {
  for (let at = 0; at < bytes.length; ) {
    const count = readSync(file, bytes, at, Math.min(bytes.length - at, CACHED), position + at);
    if (count === 0) throw new FormatError(path, 'it ends too early');
    sum = crc32(bytes.subarray(at, at + count), sum);
    at += count;
  }
  return sum;
}
