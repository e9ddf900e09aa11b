/** A whole feedforward network as one layer of a tfjs model. */
import { checkInteger } from '../../errors';
import { resolveFeedForward } from '../../nn/transformer_config';
import type { OptionNames } from '../../options';
import { checkStructure, type Structure } from '../../structures';
import { checkComputeDType } from '../compute_dtype';
import type { TfOps } from '../ops';
import type { Tensor, Tfjs } from '../tfjs';
import { FactorWeights } from './factor_weights';
import { parseRegularizers, type Regularizers } from './regularizers';
import {
  checkedConfig,
  FACTOR_KEYS,
  featuresOf,
  floatInput,
  given,
  STRUCTURED_OPTIONS,
  type StructuredConfig,
  type StructuredLayer,
  singleShape,
  type TfShape,
} from './structured_layer';

export interface FeedForwardConfig extends StructuredConfig {
  /** Of both layers. Default: dense. */
  readonly structure: Structure;
  /** Width after the activation. Default: four times the input's features. */
  readonly hidden?: number;
  /** Features of the output. Default: the input's. */
  readonly units?: number;
}

export type FeedForwardConstructor = new (config: FeedForwardConfig) => StructuredLayer;

const OPTIONS: OptionNames<FeedForwardConfig> = { ...STRUCTURED_OPTIONS, structure: 0, hidden: 0, units: 0 };

/** fc2(act(fc1(x))), by default with GELU; swiglu makes fc1 twice as wide. */
export function feedForwardClass(tf: Tfjs, ops: TfOps): FeedForwardConstructor {
  const name = 'StructuredFeedForward';
  class StructuredFeedForward extends tf.layers.Layer {
    static readonly className = name;
    readonly config: FeedForwardConfig;
    readonly #regularizers: Regularizers;
    readonly tfjsActivation = null;
    linears: FactorWeights[] = [];
    builtShape: TfShape = [];

    constructor(config: FeedForwardConfig) {
      super(checkedConfig(name, config, OPTIONS));
      checkStructure(`${name}: structure`, config.structure);
      if (config.hidden !== undefined) checkInteger(`${name}: hidden`, config.hidden);
      if (config.units !== undefined) checkInteger(`${name}: units`, config.units);
      if (config.computeDtype !== undefined) checkComputeDType(`${name}: computeDtype`, config.computeDtype);
      const parsed = parseRegularizers(tf, config);
      this.config = Object.freeze({ ...parsed.config });
      this.#regularizers = parsed.regularizers;
      this.supportsMasking = true;
    }

    override build(shape: TfShape | TfShape[]): void {
      this.builtShape = singleShape(shape);
      const features = featuresOf(name, this.builtShape);
      const { structure, units = features, seed } = this.config;
      const { dFF: hidden, activation } = resolveFeedForward({
        dModel: features,
        dFF: this.config.hidden,
        activation: this.config.activation,
      });
      const add = (weight: string, size: readonly number[], kind: keyof Regularizers) =>
        this.addWeight(weight, [...size], 'float32', tf.initializers.zeros(), this.#regularizers[kind] ?? undefined);
      const second = seed === undefined ? this.config : { ...this.config, seed: seed + 1 };
      const wide = activation === 'swiglu' ? 2 * hidden : hidden;
      this.linears = [
        new FactorWeights(tf, 'fc1_', structure, features, wide, this.config, add),
        new FactorWeights(tf, 'fc2_', structure, hidden, units, second, add),
      ];
      this.built = true;
    }

    override computeOutputShape(shape: TfShape | TfShape[]): TfShape {
      const input = singleShape(shape);
      return [...input.slice(0, -1), this.config.units ?? input[input.length - 1]!];
    }

    run(x: Tensor, alpha: number | null): Tensor {
      const [fc1, fc2] = this.linears.map((linear) => linear.operands(alpha));
      const { activation, computeDtype } = this.config;
      return ops.structuredFFN(x, fc1!, fc2!, { activation, computeDtype });
    }

    override call(inputs: Tensor | Tensor[]): Tensor {
      return tf.tidy(() => this.run(floatInput(tf, name, inputs), null));
    }

    override getConfig() {
      return { ...super.getConfig(), ...given(this.config, ['structure', 'hidden', 'units', ...FACTOR_KEYS]) };
    }
  }
  tf.serialization.registerClass(StructuredFeedForward);
  return StructuredFeedForward;
}
