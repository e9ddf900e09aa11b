/** Structured counterparts of tfjs's Dense layer. */
import { checkInteger } from '../../errors';
import { activatedFeatures } from '../../ops/activation';
import type { OptionNames } from '../../options';
import { byStructure, DEFINITIONS, type Structure } from '../../structures';
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
  single,
  singleShape,
  type TfActivation,
  type TfLayerBase,
  type TfShape,
} from './structured_layer';

export interface LinearLayerConfig extends StructuredConfig {
  /** Features of the output, before swiglu halves them. */
  readonly units: number;
  /** An activation of tfjs's own after the layer, for those that the kernels do not have, such as 'tanh'. */
  readonly tfjsActivation?: TfActivation;
}

export type LinearLayerConstructor = new (config: LinearLayerConfig) => StructuredLayer;

const OPTIONS: OptionNames<LinearLayerConfig> = { ...STRUCTURED_OPTIONS, units: 0, tfjsActivation: 0 };

function linearClass(tf: Tfjs, ops: TfOps, structure: Structure): LinearLayerConstructor {
  const name = DEFINITIONS[structure].tfjsLayer;
  class StructuredDense extends tf.layers.Layer {
    static readonly className = name;
    readonly config: LinearLayerConfig;
    readonly #regularizers: Regularizers;
    readonly tfjsActivation: TfActivation | null;
    readonly after: TfLayerBase | null;
    linears: FactorWeights[] = [];
    builtShape: TfShape = [];

    constructor(config: LinearLayerConfig) {
      super(checkedConfig(name, config, OPTIONS));
      checkInteger(`${name}: units`, config.units);
      if (config.computeDtype !== undefined) checkComputeDType(`${name}: computeDtype`, config.computeDtype);
      const parsed = parseRegularizers(tf, config);
      this.config = Object.freeze({ ...parsed.config });
      this.#regularizers = parsed.regularizers;
      this.tfjsActivation = config.tfjsActivation ?? null;
      this.after = this.tfjsActivation && tf.layers.activation({ activation: this.tfjsActivation });
      this.supportsMasking = true;
    }

    override build(shape: TfShape | TfShape[]): void {
      const { units } = this.config;
      this.builtShape = singleShape(shape);
      const features = featuresOf(name, this.builtShape);
      const add = (weight: string, size: readonly number[], kind: keyof Regularizers) =>
        this.addWeight(weight, [...size], 'float32', tf.initializers.zeros(), this.#regularizers[kind] ?? undefined);
      this.linears = [new FactorWeights(tf, '', structure, features, units, this.config, add)];
      this.built = true;
    }

    override computeOutputShape(shape: TfShape | TfShape[]): TfShape {
      const { activation = 'none', units } = this.config;
      return [...singleShape(shape).slice(0, -1), activatedFeatures(activation, units)];
    }

    run(x: Tensor, alpha: number | null): Tensor {
      const { activation, computeDtype } = this.config;
      const y = ops.structuredLinear(structure, x, this.linears[0]!.operands(alpha), { activation, computeDtype });
      return this.after ? single(name, this.after.call(y, {})) : y;
    }

    override call(inputs: Tensor | Tensor[]): Tensor {
      return tf.tidy(() => this.run(floatInput(tf, name, inputs), null));
    }

    override getConfig() {
      return { ...super.getConfig(), ...given(this.config, ['units', 'tfjsActivation', ...FACTOR_KEYS]) };
    }
  }
  tf.serialization.registerClass(StructuredDense);
  return StructuredDense;
}

/** The class of each structure, known to tfjs's loader. */
export function linearClasses(tf: Tfjs, ops: TfOps): Readonly<Record<Structure, LinearLayerConstructor>> {
  return byStructure((name) => linearClass(tf, ops, name));
}
