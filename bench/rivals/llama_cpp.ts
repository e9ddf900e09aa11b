/**
 * llama.cpp by node-llama-cpp, dense decoding alone. It is no dependency of this package:
 * `npm i --no-save node-llama-cpp` brings its source and its binaries.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TransformerLM } from '../../lib/nn';
import type { Contender } from '../harness/contender';
import type { DecodeIds } from '../harness/our_decoder';
import { type Precision, sideName } from '../harness/side';
import { canWrite, writeGguf } from './gguf';
import { type Rival, RivalMissing } from './rival';

/** The part of node-llama-cpp that is used here. */
interface LlamaModule {
  getLlama(options: object): Promise<Llama>;
  readonly LlamaLogLevel: { readonly error: string };
}

interface Llama {
  loadModel(options: { modelPath: string }): Promise<Model>;
  dispose(): Promise<void>;
}

interface Model {
  createContext(options: object): Promise<LlamaContext>;
  dispose(): Promise<void>;
}

interface LlamaContext {
  getSequence(): Sequence;
}

interface Sequence {
  readonly nextTokenIndex: number;
  controlledEvaluate(input: readonly (number | readonly [number, object])[]): Promise<readonly (Output | undefined)[]>;
  eraseContextTokenRanges(ranges: readonly { start: number; end: number }[]): Promise<void>;
}

interface Output {
  readonly next: { readonly probabilities?: ReadonlyMap<number, number> };
}

/** Greedy, as cheap as sampling gets: node-llama-cpp gives no logits. */
const GREEDY = { generateNext: { token: true, options: { temperature: 0 } } };
const ALL = { generateNext: { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } };

class LlamaDecoder implements Contender {
  constructor(
    readonly side: string,
    readonly variant: string,
    readonly model: Model,
    readonly sequences: readonly Sequence[],
    readonly work: DecodeIds,
    readonly vocabSize: number,
  ) {}

  /** Puts every sequence where the call begins. */
  async prepare(): Promise<void> {
    const { op, prompts } = this.work;
    for (const [i, sequence] of this.sequences.entries()) {
      const known = op === 'decode' ? prompts[i]!.length : 0;
      const { nextTokenIndex } = sequence;
      if (nextTokenIndex > known) await sequence.eraseContextTokenRanges([{ start: known, end: nextTokenIndex }]);
      if (nextTokenIndex < known) await sequence.controlledEvaluate(prompts[i]!);
    }
  }

  /** Logits but for a number in each row: logarithms of probabilities. */
  async outputs(): Promise<readonly Float32Array[]> {
    await this.prepare();
    const all = new Float32Array(this.sequences.length * this.vocabSize);
    for (const [i, results] of (await this.#call(ALL)).entries())
      for (const [token, probability] of results.at(-1)?.next.probabilities ?? [])
        all[i * this.vocabSize + token] = Math.log(probability);
    return [all];
  }

  /** Its threads belong to a call, so none of them spins into the samples of others. */
  async sample(milliseconds: number): Promise<readonly number[]> {
    const samples: number[] = [];
    for (const end = performance.now() + milliseconds; samples.length === 0 || performance.now() < end; ) {
      await this.prepare();
      const start = performance.now();
      await this.#call(GREEDY);
      samples.push(performance.now() - start);
    }
    return samples;
  }

  async close(): Promise<void> {
    await this.model.dispose();
  }

  #call(wanted: object) {
    const { op, prompts, next } = this.work;
    return Promise.all(
      this.sequences.map((sequence, i) => {
        const ids = op === 'decode' ? [next[i]!] : prompts[i]!;
        return sequence.controlledEvaluate(ids.map((id, at) => (at === ids.length - 1 ? ([id, wanted] as const) : id)));
      }),
    );
  }
}

export class LlamaCpp implements Rival {
  readonly name = 'llama.cpp';
  #llama: Llama | null = null;
  #threads = 1;

  private constructor(readonly module: LlamaModule) {}

  /** @throws {RivalMissing} */
  static async start(): Promise<LlamaCpp> {
    // By a variable: where it is not installed, its types are missing, too.
    const name = 'node-llama-cpp';
    try {
      return new LlamaCpp(await import(name));
    } catch {
      throw new RivalMissing(`install it by npm i --no-save ${name}`);
    }
  }

  async setThreads(count: number): Promise<void> {
    await this.#llama?.dispose();
    this.#llama = null;
    this.#threads = count;
  }

  /** It has no single layers. */
  async create(): Promise<readonly Contender[]> {
    return [];
  }

  /** One for each precision that the width of the model allows. */
  async decoders(
    variant: string,
    model: TransformerLM,
    precisions: readonly Precision[],
    work: DecodeIds,
  ): Promise<Contender[]> {
    const { dModel, vocabSize } = model.config;
    const made: Contender[] = [];
    for (const precision of precisions.filter((one) => canWrite(dModel, one))) {
      const loaded = await this.#load(model, precision);
      const longest = Math.max(...work.prompts.map(({ length }) => length)) + 1;
      const context = await loaded.createContext({
        sequences: work.prompts.length,
        contextSize: Math.max(64, longest),
        batchSize: 512,
        threads: { ideal: this.#threads, min: this.#threads },
        ...(precision === 'float32' && { experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' }),
      });
      const sequences = work.prompts.map(() => context.getSequence());
      const side = sideName(this.name, precision);
      made.push(new LlamaDecoder(side, variant, loaded, sequences, work, vocabSize));
    }
    return made;
  }

  async close(): Promise<void> {
    await this.#llama?.dispose();
  }

  async #load(model: TransformerLM, precision: Precision): Promise<Model> {
    this.#llama ??= await this.module.getLlama({
      gpu: false,
      build: 'never',
      skipDownload: true,
      logLevel: this.module.LlamaLogLevel.error,
      maxThreads: this.#threads,
    });
    const folder = mkdtempSync(join(tmpdir(), 'bench-llama-'));
    try {
      const path = join(folder, 'model.gguf');
      writeGguf(path, model, precision);
      return await this.#llama.loadModel({ modelPath: path });
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}
