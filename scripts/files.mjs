// The places of files, and whether a build is older than its sources.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
export const BINARY = join(ROOT, 'build', 'Release', 'structured_ffn.node');
export const CUDA_BINARY = join(ROOT, 'build-cuda', 'Release', 'structured_ffn.node');

/** Every file below `path`, or the file itself. */
export function filesOf(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

/** Whether `output` is missing or older than one of `sources` (files and folders, relative to the package). */
export function isStale(output, sources) {
  if (!existsSync(output)) return true;
  const built = statSync(output).mtimeMs;
  return sources.some((source) => filesOf(join(ROOT, source)).some((file) => statSync(file).mtimeMs > built));
}
