/** Files, with errors that say which file and why; writes that are whole or not there at all. */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { FileError, FormatError } from '../errors';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of the path is a file',
  ENOSPC: 'no space left',
  EFBIG: 'the file is too large',
  EDQUOT: 'no space left for this user',
};

/** Runs a file operation; its system error becomes a FileError. */
export function withFile<T>(doing: string, path: string, operation: () => T): T {
  try {
    return operation();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw cause;
    throw new FileError(`cannot ${doing} ${path}: ${REASONS[code] ?? code}`, { cause });
  }
}

/** Writes the parts to `path` so that a crash leaves either the old file or the new one. @throws {FileError} */
export function writeAtomically(path: string, parts: Iterable<Uint8Array>): void {
  const temporary = `${path}.${process.pid}.tmp`;
  withFile('write', path, () => {
    mkdirSync(dirname(path), { recursive: true });
    const file = openSync(temporary, 'w');
    try {
      for (const part of parts) for (let at = 0; at < part.length; ) at += writeSync(file, part, at);
      fsyncSync(file);
    } catch (error) {
      closeSync(file);
      rmSync(temporary, { force: true });
      throw error;
    }
    closeSync(file);
    renameSync(temporary, path);
  });
}

/** A JSON document. `remedy` ends the message about a file that is none. @throws {FileError | FormatError} */
export function readJson(path: string, remedy = ''): unknown {
  const text = withFile('read', path, () => readFileSync(path, 'utf8'));
  try {
    return JSON.parse(text);
  } catch {
    throw new FormatError(path, `it is no JSON${remedy}`);
  }
}

/** Writes a JSON document, whole or not at all. @throws {FileError} */
export function writeJson(path: string, value: unknown): void {
  writeAtomically(path, [Buffer.from(`${JSON.stringify(value, null, 2)}\n`)]);
}
