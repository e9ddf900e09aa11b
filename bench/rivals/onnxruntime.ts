/** onnxruntime-node, forward only. */
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Contender } from '../harness/contender';
import type { Problem } from '../harness/problem';
import { timeAsyncCalls } from '../harness/sampling';
import type { Precision } from '../harness/side';
import { onnxModel } from './onnx_model';
import { isPlain, type Rival, RivalMissing } from './rival';

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
    return timeAsyncCalls(() => this.#call(), milliseconds);
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

  async create(problem: Problem, precisions: readonly Precision[]): Promise<readonly Contender[]> {
    // One session, whose weights stay in the caches: several would each have threads that disturb the others.
    if (!isPlain(problem, precisions)) return [];
    const session = await this.runtime.InferenceSession.create(onnxModel(problem), {
      intraOpNumThreads: this.#threads,
    });
    const { tokens, x } = problem;
    const input = new this.runtime.Tensor('float32', x, [tokens, x.length / tokens]);
    return [new OnnxContender(problem.variant, session, input)];
  }

  async close(): Promise<void> {}
}
