/** One decoding step of ours: a new token for each sequence of a batch, at a fixed context length. */
import { Decoder, type DecoderOptions, type DecodeSequence } from '../../lib/decode';
import type { TransformerLM } from '../../lib/nn';
import { Generator } from '../../lib/random';
import { type Contender, OURS } from './contender';

/** How many sequences, and how many tokens of each are known. */
export interface DecodeLoad {
  readonly batch: number;
  readonly context: number;
}

export interface DecodeIds {
  readonly prompts: readonly number[][];
  readonly next: readonly number[];
}

export function decodeIds({ batch, context }: DecodeLoad, vocabSize: number): DecodeIds {
  const generator = new Generator(23);
  const ids = (count: number) => Array.from({ length: count }, () => generator.nextInt(vocabSize));
  return { prompts: Array.from({ length: batch }, () => ids(context)), next: ids(batch) };
}

export class OurDecoder implements Contender {
  readonly side = OURS;
  readonly decoder: Decoder;
  #sequences: DecodeSequence[] = [];
  #next: readonly number[] = [];

  constructor(
    readonly variant: string,
    readonly model: TransformerLM,
    options: DecoderOptions,
  ) {
    this.decoder = new Decoder(model, options);
  }

  async load({ prompts, next }: DecodeIds): Promise<void> {
    for (const sequence of this.#sequences) sequence.dispose();
    this.#sequences = prompts.map(() => this.decoder.sequence());
    this.#next = next;
    for (const [i, sequence] of this.#sequences.entries()) await this.decoder.prefill(sequence, prompts[i]!);
  }

  /** Bytes of weights and of keys and values that a step reads. */
  bytes({ batch, context }: DecodeLoad): number {
    const { nLayers, nHeads, nKvHeads = nHeads, attnDim, dModel } = this.model.config;
    const perToken = nLayers * nKvHeads * ((attnDim ?? dModel) / nHeads) * 2 * 4;
    return this.decoder.stats().weightBytes + batch * context * perToken;
  }

  async outputs(): Promise<readonly Float32Array[]> {
    const rows = await this.#step();
    const all = new Float32Array(rows.length * this.model.config.vocabSize);
    for (const [i, row] of rows.entries()) all.set(row, i * row.length);
    return [all];
  }

  async sample(milliseconds: number): Promise<readonly number[]> {
    const samples: number[] = [];
    const end = performance.now() + milliseconds;
    for (let now = performance.now(); samples.length === 0 || now < end; now = performance.now()) {
      await this.#step();
      samples.push(performance.now() - now);
    }
    return samples;
  }

  async close(): Promise<void> {
    for (const sequence of this.#sequences) sequence.dispose();
    this.decoder.dispose();
  }

  async #step(): Promise<Float32Array[]> {
    const entries = this.#sequences.map((sequence, i) => ({ sequence, ids: [this.#next[i]!] }));
    const rows = await this.decoder.step(entries);
    for (const sequence of this.#sequences) sequence.rewind(sequence.length - 1);
    return rows;
  }
}
