/**
 * What `structured-ffn tune --device cuda` measured for the choice of kernels for matrix products: one file for all machines
 * that share a home folder, each GPU under its name.
 */
import { existsSync } from 'node:fs';
import { FormatError } from '../errors';
import { cacheFile, readJson, writeJson } from '../io/files';
import { isObject } from '../options';

/**
 * Times in nanoseconds, and ratios by which one way may be slower than another, by the names of
 * native/cuda/gemm/costs.cuh.
 */
export type GemmCosts = Readonly<Record<string, number>>;

const FORMAT = 'structured-ffn gemm costs';
const VERSION = 1;

/** STRUCTURED_FFN_CUDA_COSTS ('' for no file), or gemm_costs.json in the user's cache folder. */
export function defaultCostsPath(): string {
  return process.env.STRUCTURED_FFN_CUDA_COSTS ?? cacheFile('gemm_costs.json');
}

const isCosts = (value: unknown): value is GemmCosts =>
  isObject(value) &&
  Object.values(value).every((cost) => typeof cost === 'number' && Number.isFinite(cost) && cost > 0);

function readGpus(path: string): Record<string, GemmCosts> {
  if (path === '' || !existsSync(path)) return {};
  const remedy = '; delete it, "structured-ffn tune --device cuda" measures anew';
  const file = readJson(path, remedy);
  if (!isObject(file) || file.format !== FORMAT || file.version !== VERSION || !isObject(file.gpus))
    throw new FormatError(path, `it has no costs of matrix products${remedy}`);
  for (const [gpu, costs] of Object.entries(file.gpus))
    if (!isCosts(costs))
      throw new FormatError(path, `the costs of '${gpu}' are not all positive finite numbers${remedy}`);
  return file.gpus as Record<string, GemmCosts>;
}

/** What was measured on a GPU, or null. @throws {FileError | FormatError} */
export const loadCosts = (gpu: string, path = defaultCostsPath()): GemmCosts | null => readGpus(path)[gpu] ?? null;

/** Puts the measurements of a GPU into the file; they replace older ones. @throws {FileError | FormatError} */
export function saveCosts(gpu: string, costs: GemmCosts, path = defaultCostsPath()): void {
  writeJson(path, { format: FORMAT, version: VERSION, gpus: { ...readGpus(path), [gpu]: costs } });
}
