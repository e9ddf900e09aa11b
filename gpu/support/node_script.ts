/**
 * How this Node runs a script of ours: TypeScript in a clone, JavaScript in the archive that npm run gpu:pack makes.
 */
import { extname, join } from 'node:path';

export const ROOT = join(__dirname, '..', '..');

/** Of our own files. */
export const EXTENSION = extname(__filename);

/** Node with the options to load our files, then `args`. The current folder must be ROOT. */
export const node = (...args: readonly string[]): string[] => [
  process.execPath,
  ...(EXTENSION === '.js' ? [] : ['-r', './scripts/register_ts.cjs']),
  ...args,
];

/** @param name of the script without its extension, relative to ROOT. */
export const nodeScript = (name: string, ...args: readonly string[]): string[] => node(name + EXTENSION, ...args);
