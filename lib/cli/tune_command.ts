/** `structured-ffn tune`, and the table that `generate --dispatch auto` goes by. */
import {
  type Crossover,
  type CrossoverTable,
  defaultTablePath,
  loadTable,
  machineFingerprint,
  saveTable,
  tune,
  type WeightDType,
} from '../decode';
import type { TransformerLM } from '../nn';
import { loadModel } from '../train';

export interface TuneCommandOptions {
  readonly dtype?: WeightDType;
  readonly table?: string;
}

function lines(key: string, measured: readonly Crossover[]): string {
  const rows = measured.map(
    ({ tokens, factored, merged }) =>
      `  ${String(tokens).padStart(4)} tokens: factored ${factored.toFixed(1)} us, merged ${merged.toFixed(1)} us\n`,
  );
  return `${key}\n${rows.join('')}`;
}

export function tuneCommand(checkpoint: string, options: TuneCommandOptions): void {
  const { model, dtype } = loadModel(checkpoint);
  const path = options.table ?? defaultTablePath();
  process.stdout.write(`${machineFingerprint()}\n`);
  const onShape = (key: string, measured: readonly Crossover[]) => process.stdout.write(lines(key, measured));
  saveTable(tune(model, { dtype: options.dtype ?? dtype, onShape }), path);
  process.stdout.write(`written to ${path}\n`);
}

/** The table on disk, with what this model lacks in it measured now and added. */
export function measuredTable(model: TransformerLM, dtype: WeightDType): CrossoverTable {
  const known = loadTable();
  const fresh = tune(model, { dtype, known });
  if (fresh.size === 0) return known;
  saveTable(fresh);
  return new Map([...known, ...fresh]);
}
