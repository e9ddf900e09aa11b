/** `structured-ffn tune`, and the table that `generate --dispatch auto` uses. */
import { defaultCostsPath, saveCosts } from '../cuda/costs_file';
import { tuneCosts } from '../cuda/tune_costs';
import {
  type ActivationDType,
  type Crossover,
  type CrossoverTable,
  defaultTablePath,
  loadTable,
  machineFingerprint,
  saveTable,
  type WeightDType,
} from '../decode';
import { tuneOn } from '../decode/tune';
import { checkDevice, type Device, deviceStatus, kindOf } from '../device';
import { checkPath, OptionError } from '../errors';
import { withCheckpoint } from '../io/checkpoint';
import { checkWritable } from '../io/files';
import type { TransformerLM } from '../nn';
import { modelOf } from '../train/load_model';
import { UsageError } from './failure';
import { checkOutside } from './outside';

export interface TuneCommandOptions {
  readonly device: Device;
  readonly costs?: string;
  readonly dtype?: WeightDType;
  readonly activations?: ActivationDType;
  readonly table?: string;
}

function lines(key: string, measured: readonly Crossover[]): string {
  const rows = measured.map(
    ({ tokens, factored, merged }) =>
      `  ${String(tokens).padStart(4)} tokens: factored ${factored.toFixed(1)} us, merged ${merged.toFixed(1)} us\n`,
  );
  return `${key}\n${rows.join('')}`;
}

/** Before anything is measured. @throws {UsageError | FileError} */
function checkPlace(option: string, path: string): void {
  checkPath(`tune: ${option}`, path);
  checkOutside(`${option} ${path}`, path);
  checkWritable(path);
}

/**
 * Measures the kernels of matrix products on the GPU, and writes the times to the file that every later process reads.
 */
function tuneProducts(device: Device, path = defaultCostsPath()): void {
  checkDevice('tune: --device', device);
  if (path === '') throw new OptionError('tune: --costs', 'a file, as STRUCTURED_FFN_CUDA_COSTS is empty', path);
  const gpu = deviceStatus(device);
  checkPlace('--costs', path);
  process.stdout.write(`${gpu}\n`);
  const onCost = (name: string, value: number) => process.stdout.write(`  ${name} ${value.toPrecision(4)}\n`);
  saveCosts(gpu, tuneCosts({ device, onCost }), path);
  process.stdout.write(`written to ${path}\n`);
}

export function tuneCommand(checkpoint: string | undefined, options: TuneCommandOptions): void {
  const { device, costs, dtype: asked, activations, table } = options;
  const onCuda = kindOf(device) === 'cuda';
  if (!onCuda && costs !== undefined) throw new UsageError(`--costs ${costs}: it goes with --device cuda`);
  for (const [name, value] of Object.entries({ dtype: asked, activations, table }))
    if (checkpoint === undefined && value !== undefined)
      throw new UsageError(`--${name} ${value}: it goes with a checkpoint, whose layers are measured`);
  if (onCuda) tuneProducts(device, costs);
  if (checkpoint === undefined) {
    if (onCuda) return;
    throw new OptionError('tune', 'a checkpoint, or --device cuda', checkpoint);
  }
  const path = table ?? defaultTablePath();
  checkPlace('--table', path);
  const { model, dtype } = shapesOf(checkpoint);
  process.stdout.write(`${machineFingerprint()}\n`);
  const onShape = (key: string, measured: readonly Crossover[]) => process.stdout.write(lines(key, measured));
  saveTable(tuneOn(device, model, { dtype: asked ?? dtype, activations, onShape }), path);
  process.stdout.write(`written to ${path}\n`);
}

/** A model without its weights, and their type in the checkpoint. */
const shapesOf = (checkpoint: string): { model: TransformerLM; dtype: WeightDType } =>
  withCheckpoint(checkpoint, (open) => ({ model: modelOf(checkpoint, open), dtype: open.dtype }));

/** The table on disk. Shapes of this checkpoint's model that it lacks are measured now and added. */
export function measuredTable(
  checkpoint: string,
  device: Device,
  asked: WeightDType | undefined,
  activations: ActivationDType | undefined,
): CrossoverTable {
  const { model, dtype } = shapesOf(checkpoint);
  const known = loadTable();
  const fresh = tuneOn(device, model, { dtype: asked ?? dtype, activations, known });
  if (fresh.size === 0) return known;
  saveTable(fresh);
  return new Map([...known, ...fresh]);
}
