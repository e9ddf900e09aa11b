/** Text from a model, one token at a time. */
import { noGrad } from '../autograd';
import { checkInteger, checkNumber, IndexError, OptionError } from '../errors';
import type { TransformerLM } from '../nn';
import { linear, slice } from '../ops';
import { Generator } from '../random';
import { tidy } from '../scope';
import { tensor } from '../tensor';

export interface GenerateOptions {
  /** Default: 100. */
  readonly maxNewTokens?: number;
  /** 0 takes the likeliest token each time. Default: 1. */
  readonly temperature?: number;
  /** Draws among this many likeliest tokens; 0: among all. Default: 0. */
  readonly topK?: number;
  /** Default: a generator of seed 0. */
  readonly generator?: Generator;
  /** Generation ends before this id. */
  readonly stopId?: number | null;
}

function nextLogits(model: TransformerLM, ids: readonly number[]): Float32Array {
  const { seqLen } = model.config;
  const context = Int32Array.from(ids.slice(-seqLen));
  return noGrad(() =>
    tidy(() => {
      const hidden = model.hidden(tensor(context, [1, context.length]));
      const last = slice(hidden, 1, context.length - 1, context.length);
      return Float32Array.from(linear(last, model.embedding.weight).data);
    }),
  );
}

function draw(logits: Float32Array, temperature: number, topK: number, generator: Generator): number {
  const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b);
  if (temperature === 0) return order[0]!;
  const candidates = topK > 0 ? order.slice(0, topK) : order;
  const top = logits[candidates[0]!]!;
  const weights = candidates.map((id) => Math.exp((logits[id]! - top) / temperature));
  let left = generator.next() * weights.reduce((sum, weight) => sum + weight, 0);
  for (let i = 0; i < candidates.length; i++) {
    left -= weights[i]!;
    if (left < 0) return candidates[i]!;
  }
  return candidates[candidates.length - 1]!;
}

/**
 * The tokens that follow `prompt`, one after the other. Each is computed from the last seqLen tokens.
 * @throws {OptionError} for an empty prompt. @throws {IndexError} for an id outside the vocabulary.
 */
export function* generate(
  model: TransformerLM,
  prompt: ArrayLike<number>,
  options: GenerateOptions = {},
): Iterable<number> {
  const { maxNewTokens = 100, temperature = 1, topK = 0, generator = new Generator(0), stopId = null } = options;
  checkInteger('generate: maxNewTokens', maxNewTokens, 0);
  checkNumber('generate: temperature', temperature, 0);
  checkInteger('generate: topK', topK, 0);
  if (prompt.length === 0) throw new OptionError('generate: prompt', 'at least one token', 'none');
  const ids = Array.from(prompt);
  const { vocabSize } = model.config;
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (bad !== undefined) throw new IndexError('generate: prompt', `ids below ${vocabSize}`, bad);
  const { training } = model;
  model.eval();
  try {
    for (let i = 0; i < maxNewTokens; i++) {
      const id = draw(nextLogits(model, ids), temperature, topK, generator);
      if (id === stopId) return;
      ids.push(id);
      yield id;
    }
  } finally {
    model.train(training);
  }
}
