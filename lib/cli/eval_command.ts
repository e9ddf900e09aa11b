/** `structured-ffn eval`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readDocuments, TokenFile, writeTokens } from '../data';
import { withFile } from '../io/files';
import { evaluate, loadModel } from '../train';
import { UsageError } from './failure';
import { tokenizerOf } from './tokenizer_option';

export interface EvalOptions {
  readonly data?: string;
  readonly tokens?: string;
  readonly batchSize: number;
  readonly json?: boolean;
}

export async function evalCommand(checkpoint: string, options: EvalOptions): Promise<void> {
  if ((options.data === undefined) === (options.tokens === undefined))
    throw new UsageError('give either --data FILE_OR_FOLDER or --tokens FILE');
  const { model, tokenizerFile } = loadModel(checkpoint);
  const scratch = withFile('write', tmpdir(), () => mkdtempSync(join(tmpdir(), 'structured-ffn-')));
  try {
    const text =
      options.data === undefined
        ? null
        : writeTokens(join(scratch, 'eval.bin'), readDocuments(options.data), tokenizerOf(tokenizerFile));
    using file = new TokenFile(text?.path ?? options.tokens!, text?.dtype ?? 'uint16');
    // A text shorter than the model's context is one row of its own length.
    const seqLen = Math.min(model.config.seqLen, Math.max(1, file.length - 1));
    const result = await evaluate(model, file, { batchSize: options.batchSize, seqLen, textBytes: text?.bytes });
    const { loss, perplexity, bitsPerByte, tokens } = result;
    process.stdout.write(
      options.json
        ? `${JSON.stringify(result)}\n`
        : `loss ${loss.toFixed(4)} nats per token, perplexity ${perplexity.toFixed(2)}` +
            `${bitsPerByte === null ? '' : `, ${bitsPerByte.toFixed(4)} bits per byte`}; ${tokens.toLocaleString('en')} tokens\n`,
    );
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
