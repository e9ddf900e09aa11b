/** `structured-ffn convert`. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { convertWeights, type WeightDType } from '../decode';
import { saveCheckpoint } from '../io';
import { holdsCheckpoint } from '../io/manifest';
import { loadModel } from '../train';
import { UsageError } from './failure';
import { checkOutside } from './outside';

export interface ConvertCommandOptions {
  readonly dtype: WeightDType;
  readonly out: string;
}

export function convertCommand(checkpoint: string, { dtype, out }: ConvertCommandOptions): void {
  if (existsSync(out) || holdsCheckpoint(resolve(out))) throw new UsageError(`--out ${out}: it exists already`);
  checkOutside(`--out ${out}`, out);
  const { model, tokenizerFile } = loadModel(checkpoint);
  const weights = convertWeights(model, dtype);
  saveCheckpoint(out, { model: weights, dtype, config: model.config, tokenizerFile });
  const bytes = [...weights.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  process.stdout.write(`${out}: ${bytes.toLocaleString('en')} bytes of ${dtype} weights\n`);
}
