/** The reading side of store.ts. */
import { closeSync, existsSync, fstatSync, openSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { FileError, FormatError } from '../errors';
import { type FileRecord, readExactly, systemCode, withFile } from './files';
import {
  CONFIG,
  type FileName,
  formerName,
  holdsCheckpoint,
  isCheckpoint,
  MANIFEST,
  type Manifest,
  NAMES,
  parseManifest,
  standIn,
  VERSION,
} from './manifest';

const LOOKS = 10;

/** The files of a checkpoint folder, opened together, so that a save meanwhile changes nothing. */
export class OpenFolder implements Disposable {
  readonly #files: ReadonlyMap<string, number>;
  readonly #manifest: Manifest | undefined;

  private constructor(
    readonly path: string,
    files: ReadonlyMap<string, number>,
  ) {
    this.#files = files;
    const manifest = files.get(MANIFEST);
    if (manifest === undefined) return;
    const manifestPath = join(path, MANIFEST);
    const { size } = fstatSync(manifest);
    this.#manifest = parseManifest(Buffer.from(readExactly(manifestPath, manifest, size, 0)).toString('utf8'));
    if (this.#manifest === undefined) throw new FormatError(manifestPath, 'it is not the manifest of a checkpoint');
    if (this.#manifest.version !== VERSION)
      throw new FormatError(manifestPath, `format version ${this.#manifest.version}; this release reads ${VERSION}`);
    for (const name of Object.keys(this.#manifest.files))
      if (!files.has(name)) throw new FormatError(path, `${name} is missing, but it was saved with the others`);
  }

  /** @throws {FileError} when it does not exist. @throws {FormatError} when it is not complete. */
  static open(folder: string): OpenFolder {
    return withFile('read', folder, () => {
      for (;;) {
        const path = locate(folder);
        const files = new Map<string, number>();
        try {
          const before = identity(path);
          for (const name of NAMES) openInto(files, path, name);
          if (before !== undefined && before === identity(path) && locate(folder) === path)
            return new OpenFolder(path, files);
        } catch (error) {
          closeAll(files);
          throw error;
        }
        // It was replaced just now.
        closeAll(files);
      }
    });
  }

  has(name: FileName): boolean {
    return this.#files.has(name);
  }

  /** @throws {FileError} when it does not exist. */
  file(name: FileName): number {
    const file = this.#files.get(name);
    if (file !== undefined) return file;
    const below = join(this.path, 'checkpoint');
    const why = name === CONFIG && holdsCheckpoint(below) ? `the checkpoint is ${below}` : 'no such file or folder';
    throw new FileError(`cannot read ${join(this.path, name)}: ${why}`);
  }

  /** @throws {FormatError} unless a file is the one that was saved with the others. */
  verify(name: FileName, { bytes, crc32 }: FileRecord): void {
    const record = this.#manifest?.files[name];
    if (this.#manifest === undefined || (record?.bytes === bytes && record.crc32 === crc32)) return;
    throw new FormatError(
      join(this.path, name),
      `it is not the file that was saved with the others: changed or damaged (to load it all the same, remove ${MANIFEST})`,
    );
  }

  [Symbol.dispose](): void {
    closeAll(this.#files);
  }
}

function openInto(files: Map<string, number>, folder: string, name: string): void {
  try {
    files.set(name, openSync(join(folder, name), 'r'));
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

function closeAll(files: ReadonlyMap<string, number>): void {
  for (const file of files.values()) closeSync(file);
}

function identity(folder: string): bigint | undefined {
  return statSync(folder, { bigint: true, throwIfNoEntry: false })?.ino;
}

/** The folder of a checkpoint, or what stands for it after a crash. */
function locate(folder: string): string {
  const path = resolve(folder);
  // Looks several times, because saves may finish in between.
  for (let look = 0; look < LOOKS; look++) {
    const found = existsSync(path) ? path : standIn(path);
    if (found !== undefined) return found;
  }
  // Written by releases before the manifest.
  if (isCheckpoint(formerName(path))) return formerName(path);
  throw new FileError(`cannot read ${folder}: no such checkpoint`);
}
