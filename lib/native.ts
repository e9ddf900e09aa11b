/** Loads the native addon from any of the places where a build puts it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Native } from '../types/native';
import { BinaryError } from './errors';

const ROOT = join(__dirname, '..');

/**
 * Where a binary may be, in order: an explicit path, the one with CUDA, node-gyp's, cmake-js', the one in the package.
 */
function candidates(): string[] {
  const explicit = process.env.STRUCTURED_FFN_BINARY;
  if (explicit) return [explicit];
  return [
    join(ROOT, 'build-cuda', 'Release', 'structured_ffn.node'),
    join(ROOT, 'build', 'Release', 'structured_ffn.node'),
    join(ROOT, 'build-cmake', 'Release', 'structured_ffn.node'),
    join(ROOT, 'prebuilds', `${process.platform}-${process.arch}`, 'structured_ffn.node'),
  ];
}

function load(): Native {
  const paths = candidates();
  const path = paths.find((candidate) => existsSync(candidate));
  const remedy =
    'Build it with "npm run build" in a clone, or "npx structured-ffn build" where the package is installed ' +
    '(needs a C++20 compiler, Python 3 and make).';
  if (path === undefined)
    throw new BinaryError(
      `structured-ffn: no native binary for ${process.platform}-${process.arch}; looked for\n  ${paths.join('\n  ')}\n${remedy}`,
    );
  try {
    return require(path) as Native;
  } catch (cause) {
    throw new BinaryError(`structured-ffn: ${path} does not load: ${(cause as Error).message}\n${remedy}`, { cause });
  }
}

export const native: Native = load();
