/** Decoding of ours: a new token for each sequence of a batch, at a fixed context length, or whole prompts. */
import { Decoder, type DecoderOptions, type DecodeSequence } from '../../lib/decode';
import { ELEMENTS } from '../../lib/dtype';
import type { TransformerLM } from '../../lib/nn';
import { Generator } from '../../lib/random';
import type { Contender } from './contender';
import { timeAsyncCalls } from './sampling';
import { sideOf } from './side';

/** What is timed: a new token for each of some sequences with known tokens, or the known tokens themselves. */
export interface DecodeLoad {
  readonly op: 'decode' | 'prompt';
  readonly batch: number;
  readonly context: number;
}

export interface DecodeIds {
  readonly op: DecodeLoad['op'];
  readonly prompts: readonly number[][];
  readonly next: readonly number[];
}

export function decodeIds({ op, batch, context }: DecodeLoad, vocabSize: number): DecodeIds {
  const generator = new Generator(23);
  const ids = (count: number) => Array.from({ length: count }, () => generator.nextInt(vocabSize));
  return { op, prompts: Array.from({ length: batch }, () => ids(context)), next: ids(batch) };
}

export class OurDecoder implements Contender {
  readonly side: string;
  readonly decoder: Decoder;
  #sequences: DecodeSequence[] = [];
  #work: DecodeIds = { op: 'decode', prompts: [], next: [] };

  constructor(
    readonly variant: string,
    readonly model: TransformerLM,
    options: DecoderOptions,
  ) {
    this.side = sideOf({ device: 'cpu', dtype: options.dtype ?? 'float32' });
    this.decoder = new Decoder(model, options);
  }

  async load(work: DecodeIds): Promise<void> {
    for (const sequence of this.#sequences) sequence.dispose();
    this.#sequences = work.prompts.map(() => this.decoder.sequence());
    this.#work = work;
    await this.#prefill();
  }

  /** Bytes of weights and of keys and values that a step reads. */
  bytes({ batch, context }: DecodeLoad): number {
    const { nLayers, nHeads, nKvHeads = nHeads, attnDim, dModel } = this.model.config;
    const { bytes } = ELEMENTS[this.decoder.cacheDtype];
    const perToken = nLayers * nKvHeads * ((attnDim ?? dModel) / nHeads) * 2 * bytes;
    return this.decoder.stats().weightBytes + batch * context * perToken;
  }

  async outputs(): Promise<readonly Float32Array[]> {
    const rows = await this.#call();
    const all = new Float32Array(rows.length * this.model.config.vocabSize);
    for (const [i, row] of rows.entries()) all.set(row, i * row.length);
    return [all];
  }

  sample(milliseconds: number): Promise<readonly number[]> {
    return timeAsyncCalls(() => this.#call(), milliseconds);
  }

  async close(): Promise<void> {
    for (const sequence of this.#sequences) sequence.dispose();
    this.decoder.dispose();
  }

  #call(): Promise<Float32Array[]> {
    return this.#work.op === 'decode' ? this.#step() : this.#prefill();
  }

  async #prefill(): Promise<Float32Array[]> {
    const rows: Float32Array[] = [];
    for (const [i, sequence] of this.#sequences.entries()) {
      sequence.rewind(0);
      rows.push(await this.decoder.prefill(sequence, this.#work.prompts[i]!));
    }
    return rows;
  }

  async #step(): Promise<Float32Array[]> {
    const entries = this.#sequences.map((sequence, i) => ({ sequence, ids: [this.#work.next[i]!] }));
    const rows = await this.decoder.step(entries);
    for (const sequence of this.#sequences) sequence.rewind(sequence.length - 1);
    return rows;
  }
}
