/**
 * Folders that are replaced as a whole. A new one is written beside the old, down to the disk, its manifest last; then the
 * old one steps aside, the new one takes its place, and the old one goes. At each moment a complete one is there: `open`
 * finds it, and the next save puts it back to its place before it removes anything. Only files of known names are ever
 * removed; what else lies in a folder moves on into the new one.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  statfsSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { FileError, FormatError } from '../errors';
import {
  attempt,
  type FileRecord,
  jsonBytes,
  makeFolder,
  readExactly,
  syncFolder,
  systemCode,
  uniquePart,
  withFile,
  writeNew,
} from './files';
import { lock } from './lock';

export const CONFIG = 'config.json';
const MANIFEST = 'manifest.json';
const FORMAT = 'structured-ffn manifest';
const VERSION = 1;

/** Everything that a checkpoint folder of ours may hold, in the order in which it is removed: without config it is none. */
const NAMES = [
  CONFIG,
  'model.safetensors',
  'optimizer.safetensors',
  'trainer.json',
  'tokenizer.json',
  MANIFEST,
] as const;
export type FileName = Exclude<(typeof NAMES)[number], typeof MANIFEST>;

const LOOKS = 10;

/** How long a save waits for another process that saves to the same place, in milliseconds. */
const PATIENCE = 60_000;

interface Manifest {
  readonly format: typeof FORMAT;
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly saved: number;
  readonly files: Readonly<Record<string, FileRecord>>;
}

/** The manifest in a text; undefined for anything else. */
function parseManifest(text: string): Manifest | undefined {
  try {
    const manifest = JSON.parse(text) as Partial<Manifest> | null;
    if (manifest?.format !== FORMAT || typeof manifest.files !== 'object' || manifest.files === null) return undefined;
    return manifest as Manifest;
  } catch {
    return undefined;
  }
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** The folder that is meant, whatever the working folder is later; a link stays one. */
function placeOf(folder: string): string {
  const path = resolve(folder);
  return existsSync(path) ? realpathSync(path) : path;
}

export function isCheckpoint(folder: string): boolean {
  try {
    return /"format"\s*:\s*"structured-ffn"/.test(readFileSync(join(folder, CONFIG), 'utf8'));
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  }
}

/** Also one that is damaged. */
function isOurs(folder: string): boolean {
  const manifest = join(folder, MANIFEST);
  return isCheckpoint(folder) || (existsSync(manifest) && parseManifest(readFileSync(manifest, 'utf8')) !== undefined);
}

/** When a folder was completed; null unless it is complete. */
function completedAt(folder: string): number | null {
  const sizeOf = (name: string) => statSync(join(folder, name), { throwIfNoEntry: false })?.size;
  try {
    if (!isCheckpoint(folder)) return null;
    // From before there were manifests; a new one without is not complete.
    if (sizeOf(MANIFEST) === undefined)
      return folder.endsWith('.old') && sizeOf('model.safetensors') !== undefined ? 0 : null;
    const manifest = parseManifest(readFileSync(join(folder, MANIFEST), 'utf8'));
    const whole = manifest && Object.entries(manifest.files).every(([name, { bytes }]) => sizeOf(name) === bytes);
    return whole ? manifest.saved : null;
  } catch (error) {
    // Another process may be removing it.
    if (systemCode(error) !== 'ENOENT') throw error;
    return null;
  }
}

/** What crashes left beside a folder: `NAME.UNIQUE.tmp` and `NAME.UNIQUE.old`. */
function leftovers(folder: string): string[] {
  const parent = dirname(folder);
  const prefix = `${basename(folder)}.`;
  if (!existsSync(parent)) return [];
  return readdirSync(parent)
    .filter((name) => name.startsWith(prefix) && /^\d+-[0-9a-f]{12}\.(tmp|old)$/.test(name.slice(prefix.length)))
    .map((name) => join(parent, name));
}

/** What stands for a folder that a crash left without its place: the newest complete one. */
function standIn(folder: string): string | undefined {
  const complete = leftovers(folder).flatMap((path) => {
    const saved = completedAt(path);
    return saved === null ? [] : [{ path, rank: [path.endsWith('.tmp') ? 1 : 0, saved] as const }];
  });
  complete.sort((a, b) => b.rank[0] - a.rank[0] || b.rank[1] - a.rank[1]);
  return complete[0]?.path;
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

/** Puts things in order after a crash. */
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

/** @throws {FileError} unless `folder` is free for a checkpoint: not there, empty, or a checkpoint of ours. */
export function checkFree(folder: string): void {
  withFile('write', folder, () => {
    if (!existsSync(folder)) return;
    if (!statSync(folder).isDirectory()) throw new FileError(`cannot write ${folder}: it is a file, not a folder`);
    if (readdirSync(folder).length > 0 && !isOurs(folder))
      throw new FileError(`cannot write ${folder}: it is a folder with something else in it, no checkpoint`);
  });
}

/**
 * Everything that saving to `folder` needs, tried before there is anything to save.
 * @param bytes size of a checkpoint. @throws {FileError}
 */
export function checkPlace(folder: string, bytes: number): void {
  checkFree(folder);
  const place = placeOf(folder);
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
 * Replaces `folder` by one with these files. After a crash at any point the old one or the new one is there, whole; when it
 * fails the old one is. @throws {FileError}, also for a folder that is no checkpoint, which is left as it is.
 */
export function replaceFolder(folder: string, files: ReadonlyMap<FileName, Iterable<Uint8Array>>): void {
  withFile('write', folder, () => {
    checkFree(folder);
    const place = placeOf(folder);
    makeFolder(dirname(place));
    const held = lock(place, PATIENCE);
    try {
      recover(place);
      writeAndSwap(place, files);
    } finally {
      held[Symbol.dispose]();
    }
  });
}

/** With the lock held. */
function writeAndSwap(place: string, files: ReadonlyMap<FileName, Iterable<Uint8Array>>): void {
  const unique = `${place}.${uniquePart()}`;
  const [fresh, old] = [`${unique}.tmp`, `${unique}.old`];
  try {
    mkdirSync(fresh);
    const records = [...files].map(([name, parts]) => [name, writeNew(join(fresh, name), parts)] as const);
    const manifest: Manifest = {
      format: FORMAT,
      version: VERSION,
      saved: Date.now(),
      files: Object.fromEntries(records),
    };
    writeNew(join(fresh, MANIFEST), [jsonBytes(manifest)]);
    syncFolder(fresh);
    checkFree(place);
    swap(place, fresh, old);
  } catch (error) {
    // Never the only one that is left.
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
    const path_ = join(path, MANIFEST);
    const { size } = fstatSync(manifest);
    this.#manifest = parseManifest(Buffer.from(readExactly(path_, manifest, size, 0)).toString('utf8'));
    if (this.#manifest === undefined) throw new FormatError(path_, 'it is no manifest of a checkpoint');
    if (this.#manifest.version !== VERSION)
      throw new FormatError(path_, `format version ${this.#manifest.version}; this release reads ${VERSION}`);
    for (const name of Object.keys(this.#manifest.files))
      if (!files.has(name)) throw new FormatError(path, `${name} is missing, which was saved with the rest`);
  }

  /** @throws {FileError} when there is none. @throws {FormatError} when it is not whole. */
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

  /** @throws {FileError} when it is not there. */
  file(name: FileName): number {
    const file = this.#files.get(name);
    if (file === undefined) throw new FileError(`cannot read ${join(this.path, name)}: no such file or folder`);
    return file;
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
  // More than one look, for saves that come to their ends in between.
  for (let look = 0; look < LOOKS; look++) {
    const found = existsSync(path) ? path : standIn(path);
    if (found !== undefined) return found;
  }
  // As releases before the manifest left it.
  if (isCheckpoint(`${path}.old`)) return `${path}.old`;
  throw new FileError(`cannot read ${folder}: no such checkpoint`);
}
