/** TensorFlow.js on its wasm and cpu backends, forward only. Both run on one thread in Node. */
import type { Rank, Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import type { Shape } from '../../lib/tensor';
import type { Contender } from '../harness/contender';
import type { LayerArrays, Problem } from '../harness/problem';
import { timeAsyncCalls } from '../harness/sampling';
import type { Precision } from '../harness/side';
import type { LayerSize } from '../harness/variants';
import { isPlain, type Rival, RivalMissing } from './rival';

type Tfjs = typeof import('@tensorflow/tfjs-core');
export type TfjsBackend = 'wasm' | 'cpu';

/** Beyond this a call takes 50 ms or more. */
const MOST_FLOPS: Readonly<Record<TfjsBackend, number>> = { wasm: 6e8, cpu: 2e7 };

export type Layer = (x: Tensor2D) => Tensor2D;

/** Weights are transposed once: the wasm backend is many times slower at x Wᵀ. Tensors are added to `owned`. */
export function createLayer(
  tf: Tfjs,
  { v, u, outFeatures, dims }: LayerSize,
  arrays: LayerArrays,
  owned: Tensor[],
): Layer {
  const own = (values: Float32Array, shape: Shape): Tensor => {
    const order = shape.length === 3 ? [0, 2, 1] : [1, 0];
    owned.push(tf.tidy(() => tf.transpose(tf.tensor(values, [...shape]), shape.length > 1 ? order : [0])));
    return owned[owned.length - 1]!;
  };
  const second = own(arrays.u, u);
  const bias = arrays.bias && own(arrays.bias, [outFeatures]);
  const addBias = (y: Tensor2D): Tensor2D => (bias ? tf.add(y, bias) : y);
  const times = (x: Tensor2D, w: Tensor): Tensor2D => tf.matMul(x, tf.reshape<Rank.R2>(w, [w.shape[0]!, w.shape[1]!]));
  if (v === null || arrays.v === null) return (x) => addBias(times(x, second));
  const first = own(arrays.v, v);
  const blocks = v.length === 3 ? v[0]! : 1;
  const multiply = (x: Tensor3D, w: Tensor): Tensor3D =>
    tf.matMul(x, tf.reshape<Rank.R3>(w, [w.shape[0]!, w.shape[1]!, w.shape[2]!]));
  const inner: Layer = (x) => {
    if (blocks === 1) return times(x, first);
    const split = tf.transpose(tf.reshape<Rank.R3>(x, [-1, blocks, x.shape[1] / blocks]), [1, 0, 2]);
    return tf.reshape<Rank.R2>(tf.transpose(multiply(split, first), [1, 0, 2]), [-1, dims.hidden]);
  };
  if (u.length === 2) return (x) => addBias(times(inner(x), second));
  return (x) => {
    const shuffled = tf.transpose(tf.reshape<Rank.R3>(inner(x), [-1, u[2]!, u[0]!]), [2, 0, 1]);
    return addBias(tf.reshape<Rank.R2>(tf.transpose(multiply(shuffled, second), [1, 2, 0]), [-1, outFeatures]));
  };
}

class TfjsContender implements Contender {
  readonly side: string;

  constructor(
    readonly tf: Tfjs,
    readonly backend: TfjsBackend,
    readonly variant: string,
    readonly x: Tensor2D,
    readonly layers: readonly Layer[],
    readonly owned: readonly Tensor[],
  ) {
    this.side = `tfjs-${backend}`;
  }

  async #call(): Promise<Float32Array> {
    const y = this.tf.tidy(() => {
      const [first, second] = this.layers;
      const hidden = first!(this.x);
      return second ? second(gelu(this.tf, hidden)) : hidden;
    });
    const data = await y.data<'float32'>();
    y.dispose();
    return data;
  }

  async outputs(): Promise<readonly Float32Array[]> {
    await this.tf.setBackend(this.backend);
    return [await this.#call()];
  }

  async sample(milliseconds: number): Promise<readonly number[]> {
    await this.tf.setBackend(this.backend);
    return timeAsyncCalls(() => this.#call(), milliseconds);
  }

  async close(): Promise<void> {
    await this.tf.setBackend(this.backend);
    this.tf.dispose([this.x, ...this.owned]);
  }
}

/** 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))). */
export function gelu(tf: Tfjs, x: Tensor2D): Tensor2D {
  const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.mul(x, x), x), 0.044715)), 0.7978845608);
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}

export class TfjsRival implements Rival {
  readonly name: string;

  private constructor(
    readonly tf: Tfjs,
    readonly backend: TfjsBackend,
  ) {
    this.name = `tfjs-${backend}`;
  }

  /** @throws {RivalMissing} */
  static async start(backend: TfjsBackend): Promise<TfjsRival> {
    try {
      const { default: tf } = await import('@tensorflow/tfjs-core');
      if (backend === 'wasm') await import('@tensorflow/tfjs-backend-wasm');
      else await import('@tensorflow/tfjs-backend-cpu');
      tf.enableProdMode();
      if (!(await tf.setBackend(backend))) throw new Error(`the backend ${backend} does not start`);
      return new TfjsRival(tf, backend);
    } catch (error) {
      throw new RivalMissing(`@tensorflow/tfjs-backend-${backend} does not load (${String(error).split('\n')[0]})`);
    }
  }

  async setThreads(): Promise<void> {}

  async create(problem: Problem, precisions: readonly Precision[]): Promise<readonly Contender[]> {
    if (!isPlain(problem, precisions) || problem.flops > MOST_FLOPS[this.backend]) return [];
    await this.tf.setBackend(this.backend);
    const { tokens, x } = problem;
    const owned: Tensor[] = [];
    const layers = problem.sizes.map((size, i) => createLayer(this.tf, size, problem.layers[i]!, owned));
    const input = this.tf.tensor2d(x, [tokens, x.length / tokens]);
    return [new TfjsContender(this.tf, this.backend, problem.variant, input, layers, owned)];
  }

  async close(): Promise<void> {}
}
