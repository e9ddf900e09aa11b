/** `structured-ffn convert`. */
import { existsSync } from 'node:fs';
import { convertWeights, type WeightDType } from '../decode';
import { saveCheckpoint } from '../io';
import { loadModel } from '../train';
import { UsageError } from './failure';

export interface ConvertCommandOptions {
  readonly dtype: WeightDType;
  readonly out: string;
}

export function convertCommand(checkpoint: string, { dtype, out }: ConvertCommandOptions): void {
  if (existsSync(out)) throw new UsageError(`--out ${out}: it exists already`);
  const { model, tokenizerFile } = loadModel(checkpoint);
  const weights = convertWeights(model, dtype);
  saveCheckpoint(out, { model: weights, dtype, config: model.config, tokenizerFile });
  const bytes = [...weights.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  process.stdout.write(`${out}: ${bytes.toLocaleString('en')} bytes of ${dtype} weights\n`);
}
