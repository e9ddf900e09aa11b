/** A feedforward network as a tfjs model, with our layer or with tfjs's own, on the weights of a problem. */
import { transposed } from '../../lib/matrix';
import { install, type Tfjs } from '../../lib/tfjs';
import { createLayer, gelu, type Layer, type TfjsBackend } from '../rivals/tfjs';
import type { Contender } from './contender';
import type { LayerArrays, Problem } from './problem';
import { OURS } from './side';
import type { LayerSize } from './variants';

type Model = import('@tensorflow/tfjs').Sequential;
type TfTensor = import('@tensorflow/tfjs').Tensor;

export type Task = 'predict' | 'fit';

const STEP = 1e-4;

function ourLayer(tf: Tfjs, { sizes, layers }: Problem): Model {
  const [first] = sizes;
  const { structure, ratio, nblocks } = first!.variant;
  const config = { structure, ratio, nblocks, hidden: first!.outFeatures, inputShape: [first!.inFeatures] };
  const model = tf.sequential({ layers: [install(tf).layers.structuredFeedForward(config)] });
  const arrays = layers.flatMap(({ v, u, bias }) => [v, u, bias]).filter((array) => array !== null);
  setWeights(tf, model, arrays);
  return model;
}

function setWeights(tf: Tfjs, model: Model, arrays: readonly Float32Array[]): void {
  const weights = model.getWeights().map(({ shape }, i) => tf.tensor(arrays[i]!.slice(), shape));
  model.setWeights(weights);
  tf.dispose(weights);
}

/** Dense layers, as one would write a low-rank network in tfjs; they can also be trained. */
function denseLayers(tf: Tfjs, { sizes, layers }: Problem): Model {
  const model = tf.sequential();
  const arrays: Float32Array[] = [];
  const add = (values: Float32Array, [units, features]: readonly number[], last: object) => {
    model.add(tf.layers.dense({ units: units!, inputShape: [features!], ...last }));
    arrays.push(transposed(values, units!, features!));
  };
  for (const [i, { v, u }] of sizes.entries()) {
    const weights: LayerArrays = layers[i]!;
    if (v) add(weights.v!, v, { useBias: false });
    add(weights.u, u, i === 0 ? { activation: 'gelu_new' } : {});
    arrays.push(weights.bias!);
  }
  setWeights(tf, model, arrays);
  return model;
}

/** Other structures in tfjs's ops, forward only. */
function opsLayer(tf: Tfjs, { sizes, layers }: Problem): Model {
  const { inFeatures } = sizes[0]!;
  const owned: TfTensor[] = [];
  const [first, second] = sizes.map((size: LayerSize, i): Layer => createLayer(tf, size, layers[i]!, owned));
  class Ops extends tf.layers.Layer {
    static readonly className = 'BenchmarkOps';
    override call(inputs: TfTensor | TfTensor[]): TfTensor {
      const x = Array.isArray(inputs) ? inputs[0]! : inputs;
      return tf.tidy(() => second!(gelu(tf, first!(tf.reshape(x, [-1, inFeatures])))));
    }
    protected override disposeWeights(): number {
      tf.dispose(owned);
      return owned.length;
    }
  }
  return tf.sequential({ layers: [new Ops({ inputShape: [inFeatures] })] });
}

/** Whether tfjs's own layers can do it. */
const isDense = ({ sizes }: Problem): boolean => sizes.every(({ v, u }) => (v?.length ?? 2) === 2 && u.length === 2);

export class TfjsModel implements Contender {
  readonly #x: TfTensor;
  readonly #y: TfTensor;

  private constructor(
    readonly tf: Tfjs,
    readonly backend: TfjsBackend,
    readonly task: Task,
    readonly side: string,
    readonly variant: string,
    readonly model: Model,
    { x, dy, tokens }: Problem,
  ) {
    this.#x = tf.tensor2d(x.slice(), [tokens, x.length / tokens]);
    this.#y = tf.tensor2d(dy.slice(), [tokens, dy.length / tokens]);
    if (task === 'fit') model.compile({ optimizer: tf.train.adam(STEP), loss: 'meanSquaredError' });
  }

  static ours(tf: Tfjs, backend: TfjsBackend, task: Task, problem: Problem): TfjsModel {
    return new TfjsModel(tf, backend, task, OURS, problem.variant, ourLayer(tf, problem), problem);
  }

  /** Null for what tfjs's own layers cannot train. */
  static theirs(tf: Tfjs, backend: TfjsBackend, task: Task, problem: Problem): TfjsModel | null {
    if (task === 'fit' && !isDense(problem)) return null;
    const model = isDense(problem) ? denseLayers(tf, problem) : opsLayer(tf, problem);
    return new TfjsModel(tf, backend, task, `tfjs-${backend}`, problem.variant, model, problem);
  }

  async outputs(): Promise<readonly Float32Array[]> {
    return [await this.#predict()];
  }

  async sample(milliseconds: number): Promise<readonly number[]> {
    await this.tf.setBackend(this.backend);
    const samples: number[] = [];
    const end = performance.now() + milliseconds;
    for (let now = performance.now(); samples.length === 0 || now < end; now = performance.now()) {
      if (this.task === 'predict') await this.#predict();
      else await this.#fit();
      samples.push(performance.now() - now);
    }
    return samples;
  }

  async close(): Promise<void> {
    await this.tf.setBackend(this.backend);
    this.tf.dispose([this.#x, this.#y]);
    if (this.task === 'fit') this.model.optimizer.dispose();
    this.model.dispose();
  }

  /** One batch, and its result read. */
  async #predict(): Promise<Float32Array> {
    const y = this.model.predict(this.#x, { batchSize: this.#x.shape[0] });
    if (Array.isArray(y)) throw new Error('one output was expected');
    const data = await y.data<'float32'>();
    y.dispose();
    return data;
  }

  /** An epoch of one batch. */
  async #fit(): Promise<void> {
    await this.model.fit(this.#x, this.#y, { batchSize: this.#x.shape[0], verbose: 0, yieldEvery: 'never' });
  }
}
