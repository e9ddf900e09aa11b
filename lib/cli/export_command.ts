/** `structured-ffn export`. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { exportHuggingFace, exportOnnx } from '../export';
import { filesBelow } from '../export/folder';
import { loadModel } from '../train';
import { UsageError } from './failure';

export interface ExportCommandOptions {
  readonly format: 'onnx' | 'hf';
  readonly out: string;
  readonly weights?: 'factored' | 'merged';
  readonly cache?: boolean;
  readonly force?: boolean;
}

export function exportCommand(checkpoint: string, options: ExportCommandOptions): void {
  const { format, out, weights, cache, force } = options;
  if (format === 'hf' && weights === 'factored')
    throw new UsageError('--weights factored: no architecture of transformers has factors; hf is always merged');
  if (format === 'hf' && cache !== undefined)
    throw new UsageError(`--${cache ? '' : 'no-'}cache: transformers keeps its own cache; it is for onnx only`);
  const { model, tokenizerFile } = loadModel(checkpoint);
  if (format === 'hf') exportHuggingFace(model, out, { tokenizerFile, force });
  else exportOnnx(model, out, { weights, cache, tokenizerFile, force });
  const sizes = filesBelow(out).map((name) => `${name} (${statSync(join(out, name)).size.toLocaleString('en')} bytes)`);
  process.stdout.write(`${out}: ${sizes.join(', ')}\n`);
}
