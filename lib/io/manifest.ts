/** What a checkpoint folder consists of, and what replaces it after a crash. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type FileRecord, systemCode, UNIQUE, withFile } from './files';

export const CONFIG = 'config.json';
export const MANIFEST = 'manifest.json';
const FORMAT = 'structured-ffn manifest';
export const VERSION = 1;

/**
 * Everything that a checkpoint folder of ours may hold, in the order of removal: without its config it is not a
 * checkpoint.
 */
export const NAMES = [
  CONFIG,
  'model.safetensors',
  'optimizer.safetensors',
  'trainer.json',
  'tokenizer.json',
  MANIFEST,
] as const;
export type FileName = Exclude<(typeof NAMES)[number], typeof MANIFEST>;

export interface Manifest {
  readonly format: typeof FORMAT;
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly saved: number;
  readonly files: Readonly<Record<string, FileRecord>>;
}

/** @param saved milliseconds since 1970. */
export const newManifest = (saved: number, files: Manifest['files']): Manifest => ({
  format: FORMAT,
  version: VERSION,
  saved,
  files,
});

/** The manifest in a text; undefined for anything else. */
export function parseManifest(text: string): Manifest | undefined {
  try {
    const manifest = JSON.parse(text) as Partial<Manifest> | null;
    if (manifest?.format !== FORMAT || typeof manifest.files !== 'object' || manifest.files === null) return undefined;
    const isRecord = (record: Partial<FileRecord> | null) =>
      Number.isSafeInteger(record?.bytes) && Number.isSafeInteger(record?.crc32);
    return Object.values(manifest.files).every(isRecord) ? (manifest as Manifest) : undefined;
  } catch {
    return undefined;
  }
}

export function isCheckpoint(folder: string): boolean {
  try {
    return /"format"\s*:\s*"structured-ffn"/.test(readFileSync(join(folder, CONFIG), 'utf8'));
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  }
}

/** Also true for a damaged one. */
export function isOurs(folder: string): boolean {
  const manifest = join(folder, MANIFEST);
  if (isCheckpoint(folder)) return true;
  if (!existsSync(manifest)) return false;
  return parseManifest(withFile('read', manifest, () => readFileSync(manifest, 'utf8'))) !== undefined;
}

/** When a folder was completed; null unless it is complete. */
function completedAt(folder: string): number | null {
  const sizeOf = (name: string) => statSync(join(folder, name), { throwIfNoEntry: false })?.size;
  try {
    if (!isCheckpoint(folder)) return null;
    // Written before there were manifests. A new folder without a manifest is not complete.
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

/** What crashes left next to a folder: `NAME.UNIQUE.tmp` and `NAME.UNIQUE.old`. */
export function leftovers(folder: string): string[] {
  const parent = dirname(folder);
  const prefix = `${basename(folder)}.`;
  const rest = new RegExp(`^${UNIQUE}\\.(tmp|old)$`);
  if (!statSync(parent, { throwIfNoEntry: false })?.isDirectory()) return [];
  return readdirSync(parent)
    .filter((name) => name.startsWith(prefix) && rest.test(name.slice(prefix.length)))
    .map((name) => join(parent, name));
}

/** What stands for a folder that a crash removed from its place: the newest complete one. */
export function standIn(folder: string): string | undefined {
  const complete = leftovers(folder).flatMap((path) => {
    const saved = completedAt(path);
    return saved === null ? [] : [{ path, rank: [path.endsWith('.tmp') ? 1 : 0, saved] as const }];
  });
  complete.sort((a, b) => b.rank[0] - a.rank[0] || b.rank[1] - a.rank[1]);
  return complete[0]?.path;
}

/** As releases before the manifest called the one that a save replaces. */
export const formerName = (folder: string): string => `${folder}.old`;

/** Whether a checkpoint is there, damaged or whole, or what stands for it after a crash. */
export const holdsCheckpoint = (folder: string): boolean =>
  withFile('read', folder, () => isOurs(folder) || standIn(folder) !== undefined || isCheckpoint(formerName(folder)));

/** The checkpoint folder that a path is, or lies in; undefined for none. @param path absolute. */
export function checkpointAround(path: string): string | undefined {
  const parent = dirname(path);
  if (isCheckpoint(path)) return path;
  return parent === path ? undefined : checkpointAround(parent);
}
