/** Measured crossovers on disk: one file for all machines that share a home folder, each under its fingerprint. */
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { cpus, homedir } from 'node:os';
import { join } from 'node:path';
import { FormatError } from '../errors';
import { withFile, writeJson } from '../io/files';
import type { Crossover, CrossoverTable } from './table';

const FORMAT = 'structured-ffn crossovers';
const VERSION = 1;

type Machines = Record<string, Record<string, readonly Crossover[]>>;

/** What makes measurements of one machine worthless on another. */
export function machineFingerprint(): string {
  const cores = cpus();
  return `${cores[0]?.model ?? 'unknown'}, ${cores.length} cores, ${process.platform} ${process.arch}`;
}

/** STRUCTURED_FFN_TABLE, or crossovers.json in the user's cache folder. */
export function defaultTablePath(): string {
  const { STRUCTURED_FFN_TABLE, XDG_CACHE_HOME } = process.env;
  return STRUCTURED_FFN_TABLE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'structured-ffn', 'crossovers.json');
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

const isCrossover = (value: unknown): value is Crossover =>
  isObject(value) &&
  Number.isSafeInteger(value.tokens) &&
  [value.tokens, value.factored, value.merged].every((number) => typeof number === 'number' && number > 0);

const isMachines = (value: unknown): value is Machines =>
  isObject(value) &&
  Object.values(value).every(
    (shapes) =>
      isObject(shapes) && Object.values(shapes).every((list) => Array.isArray(list) && list.every(isCrossover)),
  );

function readMachines(path: string): Machines {
  if (!existsSync(path)) return {};
  const text = withFile('read', path, () => readFileSync(path, 'utf8'));
  const corrupt = (problem: string) =>
    new FormatError(path, `${problem}; "structured-ffn tune" measures anew and keeps this file as ${path}.corrupt`);
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    throw corrupt('it is no JSON');
  }
  if (!isObject(file) || file.format !== FORMAT || file.version !== VERSION || !isMachines(file.machines))
    throw corrupt('it is no table of crossovers');
  return file.machines;
}

/** What was measured on this machine; empty when nothing was. @throws {FileError | FormatError} */
export function loadTable(path = defaultTablePath()): CrossoverTable {
  return new Map(Object.entries(readMachines(path)[machineFingerprint()] ?? {}));
}

/**
 * Adds measurements of this machine to the file. One that cannot be understood is kept beside it as `.corrupt`.
 * @throws {FileError}
 */
export function saveTable(table: CrossoverTable, path = defaultTablePath()): void {
  let machines: Machines;
  try {
    machines = readMachines(path);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    withFile('write', path, () => renameSync(path, `${path}.corrupt`));
    machines = {};
  }
  const fingerprint = machineFingerprint();
  machines[fingerprint] = { ...machines[fingerprint], ...Object.fromEntries(table) };
  writeJson(path, { format: FORMAT, version: VERSION, machines });
}
