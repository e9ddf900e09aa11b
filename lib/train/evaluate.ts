/** Loss of a model on validation tokens. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { noGrad } from '../autograd';
import { evaluationBatches, TokenFile } from '../data';
import { checkInstance, SffnError } from '../errors';
import { TransformerLM } from '../nn';
import { checkKeys } from '../options';
import { tidy } from '../scope';
import { tensor } from '../tensor';

/** Loss on a token file. */
export interface Evaluation {
  /** Mean in nats per token. */
  readonly loss: number;
  /** e to the loss. */
  readonly perplexity: number;
  /** Null if the size of the validation text is not known. */
  readonly bitsPerByte: number | null;
  /** Targets counted. */
  readonly tokens: number;
}

/** Options of `evaluate`. */
export interface EvaluateOptions {
  /** Rows in one forward pass. */
  readonly batchSize: number;
  /** Default: the model's. */
  readonly seqLen?: number;
  /** Stops after this many rows. Default: the whole file. */
  readonly maxRows?: number;
  /** UTF-8 bytes of the whole text, for bits per byte. */
  readonly textBytes?: number;
}

/**
 * Loss of a model on a token file. The event loop gets its turn between batches.
 * @throws {SffnError} (ERR_NOT_FINITE) when the loss of a batch is not finite.
 */
export async function evaluate(model: TransformerLM, file: TokenFile, options: EvaluateOptions): Promise<Evaluation> {
  checkKeys('evaluate', options, { batchSize: 0, seqLen: 0, maxRows: 0, textBytes: 0 });
  checkInstance('evaluate: model', model, TransformerLM);
  checkInstance('evaluate: file', file, TokenFile);
  const { batchSize, seqLen = model.config.seqLen, maxRows, textBytes } = options;
  const { training } = model;
  const { device } = model.embedding.weight;
  model.eval();
  let total = 0;
  let tokens = 0;
  try {
    const { vocabSize } = model.config;
    for (const { inputs, targets, rows } of evaluationBatches(file, { batchSize, seqLen, vocabSize, maxRows })) {
      await nextTurn();
      const shape = [rows, seqLen];
      const loss = noGrad(() =>
        tidy(() => model.loss(tensor(inputs, shape, { device }), tensor(targets, shape, { device })).item()),
      );
      if (!Number.isFinite(loss))
        throw new SffnError('ERR_NOT_FINITE', `evaluate: the loss of the rows after token ${tokens} is ${loss}`);
      total += loss * targets.length;
      tokens += targets.length;
    }
  } finally {
    model.train(training);
  }
  const loss = total / tokens;
  const bitsPerByte = textBytes ? ((loss / Math.LN2) * file.length) / textBytes : null;
  return { loss, perplexity: Math.exp(loss), bitsPerByte, tokens };
}
