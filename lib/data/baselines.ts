/** What a model has to beat: n-gram models of the same tokens. */
import { checkInstance, checkInteger } from '../errors';
import { TokenFile } from './token_file';

/** Losses of n-gram models. */
export interface Baselines {
  /** Mean loss in nats per token of a model that knows only how frequent each token is. */
  readonly unigram: number;
  /** The same for a model that also knows the previous token. */
  readonly bigram: number;
}

/** Absolute discounting (Ney et al. 1994): this much is taken off each bigram count and given to the unigram. */
const DISCOUNT = 0.75;

/**
 * Losses on the validation tokens of models counted on the training tokens: unigrams with one added to each count, and
 * bigrams with absolute discounting that fall back to them.
 */
export function ngramBaselines(train: TokenFile, validation: TokenFile, vocabSize: number): Baselines {
  checkInstance('ngramBaselines: train', train, TokenFile);
  checkInstance('ngramBaselines: validation', validation, TokenFile);
  checkInteger('ngramBaselines: vocabSize', vocabSize);
  const unigrams = new Float64Array(vocabSize).fill(1);
  const bigrams = new Map<number, number>();
  const followers = new Float64Array(vocabSize);
  const contexts = new Float64Array(vocabSize);
  let before = -1;
  for (const piece of train.pieces())
    for (const id of piece) {
      unigrams[id]!++;
      if (before >= 0) {
        const pair = before * vocabSize + id;
        const count = bigrams.get(pair) ?? 0;
        if (count === 0) followers[before]!++;
        bigrams.set(pair, count + 1);
        contexts[before]!++;
      }
      before = id;
    }
  const total = unigrams.reduce((sum, count) => sum + count, 0);

  let unigramLoss = 0;
  let bigramLoss = 0;
  before = -1;
  for (const piece of validation.pieces())
    for (const id of piece) {
      if (before >= 0) {
        const unigram = unigrams[id]! / total;
        const context = contexts[before]!;
        const count = bigrams.get(before * vocabSize + id) ?? 0;
        const seen = context > 0 ? Math.max(0, count - DISCOUNT) / context : 0;
        const left = context > 0 ? (DISCOUNT * followers[before]!) / context : 1;
        unigramLoss -= Math.log(unigram);
        bigramLoss -= Math.log(seen + left * unigram);
      }
      before = id;
    }
  const targets = Math.max(1, validation.length - 1);
  return { unigram: unigramLoss / targets, bigram: bigramLoss / targets };
}
