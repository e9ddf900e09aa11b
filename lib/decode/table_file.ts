/** Measured crossovers on disk: one file for all machines that share a home folder, by machine fingerprint. */
import { existsSync, renameSync } from 'node:fs';
import { cpus } from 'node:os';
import { classOf } from '../dtype';
import { checkPath, FormatError, OptionError } from '../errors';
import { cacheFile, readJson, withFile, writeJson } from '../io/files';
import { isObject } from '../options';
import type { Crossover, CrossoverTable } from './table';

const FORMAT = 'structured-ffn crossovers';
const VERSION = 1;

type Machines = Record<string, Record<string, readonly Crossover[]>>;

/** What makes measurements useless on another machine. */
export function machineFingerprint(): string {
  const cores = cpus();
  return `${cores[0]?.model ?? 'unknown'}, ${cores.length} cores, ${process.platform} ${process.arch}`;
}

/** STRUCTURED_FFN_TABLE, or crossovers.json in the user's cache folder. */
export function defaultTablePath(): string {
  return process.env.STRUCTURED_FFN_TABLE ?? cacheFile('crossovers.json');
}

const isCrossover = (value: unknown): value is Crossover =>
  isObject(value) &&
  Number.isSafeInteger(value.tokens) &&
  [value.tokens, value.factored, value.merged].every((number) => typeof number === 'number' && number > 0);

/** What was measured on one machine. */
const isShapes = (value: unknown): value is Machines[string] =>
  isObject(value) && Object.values(value).every((list) => Array.isArray(list) && list.every(isCrossover));

const isMachines = (value: unknown): value is Machines => isObject(value) && Object.values(value).every(isShapes);

function readMachines(path: string): Machines {
  if (!existsSync(path)) return {};
  const remedy = `; "structured-ffn tune" measures anew and keeps this file as ${path}.corrupt`;
  const file = readJson(path, remedy);
  if (!isObject(file) || file.format !== FORMAT || file.version !== VERSION || !isMachines(file.machines))
    throw new FormatError(path, `it is not a table of crossovers${remedy}`);
  return file.machines;
}

/** What was measured on this machine; empty if nothing was. @throws {FileError | FormatError} */
export function loadTable(path = defaultTablePath()): CrossoverTable {
  return new Map(Object.entries(readMachines(path)[machineFingerprint()] ?? {}));
}

/**
 * Adds measurements of this machine to the file. A file that cannot be understood is kept as `NAME.corrupt`.
 * @throws {OptionError} for what is not a table. @throws {FileError}
 */
export function saveTable(table: CrossoverTable, path = defaultTablePath()): void {
  const added = classOf(table) === 'Map' ? Object.fromEntries(table) : null;
  if (!isShapes(added)) throw new OptionError('saveTable: table', 'a table that tune made', table);
  checkPath('saveTable: path', path);
  let machines: Machines;
  try {
    machines = readMachines(path);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    withFile('write', path, () => renameSync(path, `${path}.corrupt`));
    machines = {};
  }
  const fingerprint = machineFingerprint();
  machines[fingerprint] = { ...machines[fingerprint], ...added };
  writeJson(path, { format: FORMAT, version: VERSION, machines });
}
