/** Tokens that follow prompts, one after the other. */
import { checkFunction, checkInstance, checkInteger, checkSignal, IndexError, OptionError } from '../errors';
import { checkKeys, type OptionNames } from '../options';
import type { DecodeSequence } from './cache';
import { Decoder, type StepEntry } from './decoder';
import { SAMPLING_OPTIONS, Sampler, type SamplingOptions } from './sampling';

/** Options of `generate` and `generateBatch`. */
export interface GenerateOptions extends SamplingOptions {
  /** Default: 100. */
  readonly maxNewTokens?: number;
  /** Generation ends before this id. */
  readonly stopId?: number | null;
  /** Ends the generation with the signal's reason, an AbortError by default. */
  readonly signal?: AbortSignal;
  /** Told the duration of each part. */
  readonly onTiming?: (timing: Timing) => void;
}

export const GENERATE_OPTIONS: OptionNames<GenerateOptions> = {
  ...SAMPLING_OPTIONS,
  maxNewTokens: 0,
  stopId: 0,
  signal: 0,
  onTiming: 0,
};

/** How long a native call took. */
export interface Timing {
  /** `prefill`: the prompt; `decode`: new tokens. */
  readonly phase: 'prefill' | 'decode';
  /** Tokens that were fed. */
  readonly tokens: number;
  /** Wall-clock time. */
  readonly milliseconds: number;
}

/** A token of one of several prompts. */
export interface BatchToken {
  /** Index of the prompt. */
  readonly index: number;
  /** The token. */
  readonly id: number;
}

/** A text in progress. */
class Stream {
  sequence: DecodeSequence;
  readonly ids: number[];
  readonly sampler: Sampler;
  made = 0;

  constructor(
    readonly decoder: Decoder,
    readonly index: number,
    prompt: ArrayLike<number>,
    options: SamplingOptions,
  ) {
    this.ids = Array.from(prompt);
    this.sampler = new Sampler({ ...options, seed: (options.seed ?? 0) + index });
    this.sampler.see(this.ids);
    this.sequence = decoder.sequence();
  }

  /** Whether the context has no room for one more token. */
  get full(): boolean {
    return this.sequence.length === this.decoder.config.seqLen;
  }

  /** Feeds the later half of the tokens again, into an empty cache: positions in a cache cannot be moved. */
  restart(): number[] {
    this.sequence.dispose();
    this.sequence = this.decoder.sequence();
    return this.ids.slice(-Math.ceil(this.decoder.config.seqLen / 2));
  }
}

function checkPrompt(decoder: Decoder, prompt: ArrayLike<number>): void {
  if (!Array.isArray(prompt) && !ArrayBuffer.isView(prompt)) throw new OptionError('generate: prompt', 'ids', prompt);
  const { vocabSize, seqLen } = decoder.config;
  if (prompt.length === 0) throw new OptionError('generate: prompt', 'at least one token', 'none');
  if (prompt.length > seqLen)
    throw new OptionError('generate: prompt', `at most ${seqLen} tokens, the model's context`, prompt.length);
  const bad = Array.from(prompt).find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (bad !== undefined) throw new IndexError('generate: prompt', `ids below ${vocabSize}`, bad);
}

/** Logits after the last token of every stream: one call for those that go on; full ones are fed again in chunks. */
async function nextLogits(
  decoder: Decoder,
  streams: readonly Stream[],
  stopped: () => void,
): Promise<Map<Stream, Float32Array>> {
  const logits = new Map<Stream, Float32Array>();
  const going = streams.filter((stream) => !stream.full);
  for (const stream of streams.filter((other) => other.full)) {
    const ids = stream.restart();
    logits.set(stream, await decoder.prefill(stream.sequence, ids, stopped));
  }
  if (going.length > 0) {
    const entries = going.map(({ sequence, ids }): StepEntry => ({ sequence, ids: ids.slice(-1) }));
    const rows = await decoder.step(entries);
    for (const [i, stream] of going.entries()) logits.set(stream, rows[i]!);
  }
  return logits;
}

/**
 * The tokens that follow several prompts of any lengths, computed together. Prompt i draws with seed + i, independently
 * of the others. When a context is full, its later half is computed anew and the text goes on.
 * @throws {OptionError} for an empty prompt, or one longer than the context. @throws {IndexError} for an id outside the
 * vocabulary.
 */
export async function* generateBatch(
  decoder: Decoder,
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions = {},
): AsyncGenerator<BatchToken, void, void> {
  checkKeys('generate', options, GENERATE_OPTIONS);
  const { maxNewTokens = 100, stopId = null, signal, onTiming = () => {}, ...sampling } = options;
  checkInteger('generate: maxNewTokens', maxNewTokens, 0);
  checkInstance('generate: decoder', decoder, Decoder);
  if (!Array.isArray(prompts)) throw new OptionError('generate: prompts', 'an array of prompts', prompts);
  if (stopId !== null) checkInteger('generate: stopId', stopId, 0);
  checkFunction('generate: onTiming', onTiming);
  if (signal !== undefined) checkSignal('generate: signal', signal);
  for (const prompt of prompts as readonly ArrayLike<number>[]) checkPrompt(decoder, prompt);
  const stopped = () => signal?.throwIfAborted();
  stopped();
  let streams = (prompts as readonly ArrayLike<number>[]).map(
    (prompt, index) => new Stream(decoder, index, prompt, sampling),
  );
  const all = streams;
  const timed = async <T>(phase: Timing['phase'], tokens: number, work: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const result = await work();
    onTiming({ phase, tokens, milliseconds: performance.now() - start });
    return result;
  };
  try {
    let logits = new Map<Stream, Float32Array>();
    for (const stream of streams)
      logits.set(
        stream,
        await timed('prefill', stream.ids.length, () => decoder.prefill(stream.sequence, stream.ids, stopped)),
      );
    while (streams.length > 0) {
      const going: Stream[] = [];
      for (const stream of streams) {
        if (stream.made === maxNewTokens) continue;
        const id = stream.sampler.next(logits.get(stream)!);
        if (id === stopId) continue;
        stream.ids.push(id);
        stream.made++;
        yield { index: stream.index, id };
        stopped();
        if (stream.made < maxNewTokens) going.push(stream);
      }
      for (const stream of streams) if (!going.includes(stream)) stream.sequence.dispose();
      streams = going;
      const current = streams;
      if (current.length > 0)
        logits = await timed('decode', current.length, () => nextLogits(decoder, current, stopped));
      stopped();
    }
  } finally {
    for (const { sequence } of all) sequence.dispose();
  }
}

/** The tokens that follow one prompt; see generateBatch. */
export async function* generate(
  decoder: Decoder,
  prompt: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<number, void, void> {
  for await (const { id } of generateBatch(decoder, [prompt], options)) yield id;
}
