/** onnxruntime-node, forward only. */
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Contender } from '../harness/contender';
import type { Problem } from '../harness/problem';
import { onnxModel } from './onnx_model';
import { type Rival, RivalMissing } from './rival';

type Runtime = typeof import('onnxruntime-node');

class OnnxContender implements Contender {
  readonly side = 'onnxruntime';
  constructor(
    readonly variant: string,
    readonly session: InferenceSession,
    readonly x: Tensor,
  ) {}

  async #call(): Promise<Tensor> {
    return (await this.session.run({ x: this.x })).y!;
  }

  async outputs(): Promise<readonly Float32Array[]> {
    const { data } = await this.#call();
    if (!(data instanceof Float32Array)) throw new Error('onnxruntime gave no float32 result');
    return [data];
  }

  async sample(milliseconds: number): Promise<readonly number[]> {
    const samples: number[] = [];
    const end = performance.now() + milliseconds;
    for (let now = performance.now(); samples.length === 0 || now < end; now = performance.now()) {
      await this.#call();
      samples.push(performance.now() - now);
    }
    return samples;
  }

  async close(): Promise<void> {
    await this.session.release();
  }
}

export class Onnxruntime implements Rival {
  readonly name = 'onnxruntime';
  #threads = 1;

  private constructor(readonly runtime: Runtime) {}

  /** @throws {RivalMissing} */
  static async start(): Promise<Onnxruntime> {
    try {
      return new Onnxruntime((await import('onnxruntime-node')).default);
    } catch (error) {
      throw new RivalMissing(`the package onnxruntime-node does not load (${String(error).split('\n')[0]})`);
    }
  }

  get threads(): number {
    return this.#threads;
  }

  async setThreads(count: number): Promise<void> {
    this.#threads = count;
  }

  async create(problem: Problem): Promise<Contender | null> {
    if (problem.phase !== 'forward') return null;
    // One session, although its weights may then stay in the caches: several would each have threads that disturb the
    // others.
    const session = await this.runtime.InferenceSession.create(onnxModel(problem), {
      intraOpNumThreads: this.#threads,
    });
    const { tokens, x } = problem;
    return new OnnxContender(
      problem.variant,
      session,
      new this.runtime.Tensor('float32', x, [tokens, x.length / tokens]),
    );
  }

  async close(): Promise<void> {}
}
