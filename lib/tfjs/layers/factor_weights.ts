/** The weights of one linear layer as variables of a tfjs layer. */
import { defineLinear } from '../../functional';
import { createLinear, type Init } from '../../nn';
import type { InnerActivation } from '../../ops/inner_activation';
import { Generator } from '../../random';
import { parametersOf, type SizeOptions, type Structure } from '../../structures';
import type { Shape } from '../../tensor';
import { floats } from '../memory';
import type { TfGuide, TfLayer } from '../ops';
import type { Tensor, Tfjs } from '../tfjs';

/** tfjs exports no name for it. */
export type LayerVariable = import('@tensorflow/tfjs').LayerVariable;

/** How the factors are sized and initialised; the same names and defaults as the layers of structured-ffn/nn. */
export interface FactorConfig extends Pick<SizeOptions, 'rank' | 'nblocks' | 'ratio' | 'innerActivation'> {
  /** How the factors start. Default: what the paper uses for the structure. */
  readonly init?: Init;
  /** Of the initial values. Default: another one for every layer. */
  readonly seed?: number;
  /** Default: true. */
  readonly useBias?: boolean;
}

type AddWeight = (name: string, shape: Shape, kind: 'kernel' | 'bias') => LayerVariable;

const own = ({ rank, nblocks, ratio, init }: FactorConfig) => ({ rank, nblocks, ratio, init });

export class FactorWeights {
  readonly v: LayerVariable | null;
  readonly u: LayerVariable;
  readonly bias: LayerVariable | null;
  /** Present while the layer is guided. */
  guide: LayerVariable | null = null;
  readonly innerActivation: InnerActivation;

  /** Weights named `prefix`v, `prefix`u, `prefix`bias, with initial values. @throws {OptionError} for sizes that do not fit. */
  constructor(
    readonly tf: Tfjs,
    readonly prefix: string,
    structure: Structure,
    readonly inFeatures: number,
    readonly outFeatures: number,
    config: FactorConfig,
    add: AddWeight,
  ) {
    const seed = config.seed ?? Math.floor(Math.random() * 2 ** 31);
    const options = structure === 'dense' ? { init: config.init } : own(config);
    const layer = createLinear(structure, {
      inFeatures,
      outFeatures,
      bias: false,
      ...options,
      innerActivation: config.innerActivation,
      generator: new Generator(seed),
    });
    const variable = (name: string, shape: Shape, data: Float32Array | null): LayerVariable => {
      const weight = add(`${prefix}${name}`, shape, data === null ? 'bias' : 'kernel');
      if (data !== null) write(tf, weight, new Float32Array(data));
      return weight;
    };
    const { v, u, innerActivation } = layer;
    this.innerActivation = innerActivation;
    this.v = v && variable('v', v.shape, floats(v.data));
    this.u = variable('u', u.shape, floats(u.data));
    this.bias = (config.useBias ?? true) ? variable('bias', [outFeatures], null) : null;
    for (const parameter of layer.parameters()) parameter.dispose();
  }

  get shapes(): { v: Shape | null; u: Shape } {
    return { v: this.v && sizes(this.v), u: sizes(this.u) };
  }

  /** Elements of the weights, without bias and guide. */
  get parameters(): number {
    return parametersOf(this.shapes);
  }

  /** Operands of one call. `alpha` null leaves a guide out. */
  operands(alpha: number | null): TfLayer {
    const guide: TfGuide | null = this.guide && alpha !== null ? { weight: this.guide.read(), alpha } : null;
    const { innerActivation } = this;
    return { v: this.v?.read() ?? null, u: this.u.read(), bias: this.bias?.read() ?? null, guide, innerActivation };
  }

  /** u·v [out, in], whatever is between the factors: without an activation their exact dense matrix. */
  product(): Float32Array {
    const u = floats(this.u.read().dataSync());
    if (this.v === null) return new Float32Array(u);
    return defineLinear(this.shapes).merge({ v: floats(this.v.read().dataSync()), u });
  }

  /** Sets factors (and the bias, unless null). */
  assign({ v, u, bias }: { v: Float32Array | null; u: Float32Array; bias: Tensor | null }): void {
    if (this.v && v) write(this.tf, this.v, v);
    write(this.tf, this.u, u);
    if (bias !== null) this.bias?.write(bias);
  }

  /** Sets the guide [out, in]. */
  assignGuide(weight: Float32Array): void {
    if (this.guide) write(this.tf, this.guide, weight);
  }
}

/** A shape without unknown sizes. */
const sizes = (weight: LayerVariable): number[] => weight.shape.map((size) => size ?? 0);

/** `data` becomes the variable's own memory on some backends. */
function write(tf: Tfjs, weight: LayerVariable, data: Float32Array): void {
  const value = tf.tensor(data, sizes(weight));
  weight.write(value);
  value.dispose();
}
