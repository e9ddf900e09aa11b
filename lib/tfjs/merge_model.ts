/** Turns structured layers back into layers that every tfjs has, so that a model runs where there is no native code. */
import { OptionError } from '../errors';
import { transposed } from '../matrix';
import { FFN_ACTIVATION } from '../ops/activation';
import { checkMergeable } from '../ops/inner_activation';
import { isObject } from '../options';
import type { FactorWeights } from './layers/factor_weights';
import { isSelfGuided, layersOf } from './layers/self_guided';
import { isStructuredLayer, type StructuredLayer, type TfLayerBase } from './layers/structured_layer';
import { floats } from './memory';
import { type Replacement, rebuild } from './model_json';
import { copyWeights } from './structure_model';
import { checkModel, type LayersModel, type Tensor, type Tfjs } from './tfjs';

type Symbol = InstanceType<Tfjs['SymbolicTensor']>;

/** The weights of a Dense layer by its name: [kernel [in, out], bias [out]]. */
type DenseWeights = Map<string, Tensor[]>;

/** A dense matrix [out, in] and a bias. */
interface Matrix {
  readonly weight: Float32Array;
  readonly bias: Float32Array | null;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** The matrix of a linear part; with a guide, the mix of both as in evaluation. @throws {OptionError} for none. */
function matrixOf(linear: FactorWeights, alpha: number): Matrix {
  const { bias } = linear;
  const { u, guide } = linear.operands(alpha);
  checkMergeable('mergeModel', linear.innerActivation);
  const factors = linear.v === null ? floats(u.dataSync()) : linear.product();
  const dense = guide ? floats(guide.weight.dataSync()) : null;
  const weight = dense ? factors.map((value, i) => alpha * dense[i]! + (1 - alpha) * value) : factors;
  const { inFeatures, outFeatures } = linear;
  return { weight, bias: bias && floats(bias.read().dataSync()), inFeatures, outFeatures };
}

/** The rows from `first` up to `end` of a matrix: some of the output features. */
const rows = ({ weight, bias, inFeatures }: Matrix, first: number, end: number): Matrix => ({
  weight: weight.subarray(first * inFeatures, end * inFeatures),
  bias: bias === null ? null : bias.subarray(first, end),
  inFeatures,
  outFeatures: end - first,
});

/** Builds the plain layers of one structured layer and collects their weights. */
class PlainLayers {
  constructor(
    readonly tf: Tfjs,
    readonly weights: DenseWeights,
  ) {}

  apply(layer: TfLayerBase, ...inputs: Symbol[]): Symbol {
    const y = layer.apply(inputs.length === 1 ? inputs[0]! : inputs);
    if (!(y instanceof this.tf.SymbolicTensor)) throw new OptionError('mergeModel', 'layers of one output', layer.name);
    return y;
  }

  /** Takes the weights for the Dense layer of that name. */
  collect(name: string, { weight, bias, inFeatures, outFeatures }: Matrix): void {
    const { tf } = this;
    const kernel = tf.tensor(transposed(weight, outFeatures, inFeatures), [inFeatures, outFeatures]);
    this.weights.set(name, bias === null ? [kernel] : [kernel, tf.tensor(bias.slice(), [outFeatures])]);
  }

  dense(x: Symbol, name: string, matrix: Matrix): Symbol {
    this.collect(name, matrix);
    const { bias, outFeatures } = matrix;
    return this.apply(this.tf.layers.dense({ name, units: outFeatures, useBias: bias !== null }), x);
  }

  activation(x: Symbol, activation: 'linear' | 'relu' | 'swish' | 'sigmoid'): Symbol {
    return this.apply(this.tf.layers.activation({ activation }), x);
  }

  /**
   * The tanh form as x·σ(2√(2/π)·x·(1 + 0.044715·x²)). tfjs has it as 'gelu_new', but (4.22) cannot load a model that
   * names it.
   */
  gelu(x: Symbol): Symbol {
    const { layers } = this.tf;
    const scale = 2 * Math.sqrt(2 / Math.PI);
    // One tensor as both inputs of a layer would be disposed between them.
    const square = this.apply(layers.multiply(), x, this.activation(x, 'linear'));
    const factor = this.apply(layers.rescaling({ scale: 0.044715 * scale, offset: scale }), square);
    return this.apply(layers.multiply(), x, this.activation(this.apply(layers.multiply(), x, factor), 'sigmoid'));
  }

  /** A linear part and its activation. */
  activated(x: Symbol, name: string, matrix: Matrix, activation: StructuredLayer['config']['activation']): Symbol {
    if (activation === 'swiglu') {
      const half = matrix.outFeatures / 2;
      const gate = this.activation(this.dense(x, `${name}_gate`, rows(matrix, 0, half)), 'swish');
      const up = this.dense(x, `${name}_up`, rows(matrix, half, 2 * half));
      return this.apply(this.tf.layers.multiply(), gate, up);
    }
    const y = this.dense(x, name, matrix);
    if (activation === 'gelu') return this.gelu(y);
    if (activation === 'silu') return this.activation(y, 'swish');
    return activation === 'relu' ? this.activation(y, 'relu') : y;
  }

  /** One Dense layer, where tfjs has the activation; else null. */
  single(layer: StructuredLayer, name: string, alpha: number): Replacement | null {
    const [linear, second] = layer.linears;
    const { tfjsActivation } = layer;
    const own = PLAIN_ACTIVATIONS[layer.config.activation ?? 'none'];
    if (linear === undefined || second || own === undefined || (own !== 'linear' && tfjsActivation)) return null;
    const matrix = matrixOf(linear, alpha);
    this.collect(name, matrix);
    const activation = tfjsActivation ?? own;
    return { className: 'Dense', config: { units: matrix.outFeatures, activation, use_bias: matrix.bias !== null } };
  }

  /** The whole layer as a model of its name. */
  model(layer: StructuredLayer, name: string, shape: (number | null)[], alpha: number): Replacement {
    const { tf } = this;
    const input = tf.input({ batchShape: shape });
    const [first, second] = layer.linears.map((linear) => matrixOf(linear, alpha));
    const { activation = second ? FFN_ACTIVATION : 'none' } = layer.config;
    let y = this.activated(input, `${name}_fc1`, first!, activation);
    if (second) y = this.dense(y, `${name}_fc2`, second);
    const { tfjsActivation } = layer;
    if (tfjsActivation) y = this.apply(tf.layers.activation({ activation: tfjsActivation }), y);
    const model = tf.model({ inputs: input, outputs: y, name });
    const config = configOf(model);
    model.dispose();
    return { className: 'Model', config };
  }
}

/** tfjs's names; it has no tanh form of GELU that it can load, and nothing gated. */
const PLAIN_ACTIVATIONS: Readonly<Record<string, string>> = { none: 'linear', relu: 'relu', silu: 'swish' };

interface Found {
  readonly layer: StructuredLayer;
  readonly alpha: number;
}

function structuredIn(layer: TfLayerBase): Found | null {
  if (isSelfGuided(layer)) return { layer: layer.layer, alpha: layer.released ? 0 : layer.alpha };
  return isStructuredLayer(layer) ? { layer, alpha: 0 } : null;
}

/**
 * A new model, not compiled, that computes the same with layers of tfjs alone: a structured layer becomes a Dense one,
 * or, where it takes several, a model of the layer's name. The given model is left as it is.
 * @throws {OptionError} for a layer with an activation between its factors.
 */
export async function mergeModel(tf: Tfjs, model: LayersModel): Promise<LayersModel> {
  checkModel('mergeModel', model);
  const weights: DenseWeights = new Map();
  const plain = new PlainLayers(tf, weights);
  const replacements = new Map<string, Replacement>();
  for (const layer of layersOf(model)) {
    const found = structuredIn(layer);
    if (found === null) continue;
    const replacement =
      plain.single(found.layer, layer.name, found.alpha) ??
      plain.model(found.layer, layer.name, found.layer.builtShape, found.alpha);
    replacements.set(layer.name, replacement);
  }
  const merged = await rebuild('mergeModel', tf, model, replacements);
  copyWeights(model, merged, new Set(weights.keys()));
  for (const layer of layersOf(merged)) {
    const values = weights.get(layer.name);
    if (values) layer.setWeights(values);
  }
  tf.dispose([...weights.values()]);
  return merged;
}

/** The snake_case config of a model. */
function configOf(model: LayersModel): object {
  const json: unknown = model.toJSON(null, false);
  if (!isObject(json) || !isObject(json.config))
    throw new OptionError('mergeModel', 'a model with a config', model.name);
  return json.config;
}
