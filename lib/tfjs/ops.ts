/** The layers as functions of tfjs tensors. */
import { DeviceError, DisposedError, DTypeError, formatShape, OptionError, ShapeError } from '../errors';
import { type Activation, FFN_ACTIVATION } from '../ops/activation';
import type { InnerActivation } from '../ops/inner_activation';
import { checkKeys, isObject } from '../options';
import { checkStructure, DEFINITIONS, type Structure } from '../structures';
import { type CallAttributes, type LayerAttributes, plainAttributes } from './attributes';
import type { ComputeDType } from './compute_dtype';
import { BACKENDS } from './kernels';
import { type LayerOperands, listLayer } from './operands';
import { runKernel, type Tensor, type Tfjs } from './tfjs';

/** A dense guide beside the factors: alpha · x Wᵀ + (1 − alpha) · S(x). */
export interface TfGuide {
  /** W [out, in]. */
  readonly weight: Tensor;
  /** From 0 to 1. */
  readonly alpha: number;
}

/** Options of the linear ops. */
export interface TfLinearOptions {
  /** Default: none. */
  readonly activation?: Activation;
  /** A dense matrix that is mixed in. Default: none. */
  readonly guide?: TfGuide | null;
  /** Between the factors: u·σ(v x). Default: none. */
  readonly innerActivation?: InnerActivation;
  /** What the kernel computes in, forward and backward; tensors and gradients stay float32. Default: float32. */
  readonly computeDtype?: ComputeDType;
}

/** The weights of one layer: v is left out for a dense one, whose weight is u. */
export interface TfLayer {
  /** First factor; left out for a dense layer. */
  readonly v?: Tensor | null;
  /** Second factor, or the dense weight [out, in]. */
  readonly u: Tensor;
  /** [out]. */
  readonly bias?: Tensor | null;
  /** A dense matrix that is mixed in. */
  readonly guide?: TfGuide | null;
  /** Between the factors: u·σ(v x). Default: none. */
  readonly innerActivation?: InnerActivation;
}

/** Options of `feedForward`. */
export interface TfFeedForwardOptions {
  /** Default: gelu. */
  readonly activation?: Activation;
  /** As of the linear ops. */
  readonly computeDtype?: ComputeDType;
}

/** @throws {OptionError | DisposedError | DTypeError} unless `value` is a live float32 tensor of tfjs. */
export function checkTfTensor(where: string, value: unknown): asserts value is Tensor {
  if (value === null || typeof value !== 'object' || !('dataId' in value && 'dtype' in value && 'isDisposed' in value))
    throw new OptionError(where, 'a tfjs tensor', value);
  if (value.isDisposed) throw new DisposedError(where, 'the tensor was disposed');
  if (value.dtype !== 'float32') throw new DTypeError(where, 'a float32 tensor', String(value.dtype));
}

function checkRank(where: string, t: Tensor, rank: number): void {
  checkTfTensor(where, t);
  if (t.rank !== rank) throw new ShapeError(where, `${rank} dimensions`, formatShape(t.shape));
}

/** @throws {DeviceError} when the backend in use is none of those that the kernels know. */
function checkBackend(tf: Tfjs, where: string, kernel: string): void {
  const backend = tf.getBackend();
  if (!tf.getKernel(kernel, backend))
    throw new DeviceError(
      `${where}: expected one of the tfjs backends ${BACKENDS.join(', ')}, got '${backend}'; ` +
        'call tf.setBackend, or use mergeModel for a model of plain Dense layers',
    );
}

interface TfOperands {
  readonly operands: LayerOperands<Tensor>;
  readonly attributes: LayerAttributes;
}

const PLAIN: LayerAttributes = { alpha: 0, innerActivation: 'none' };

function checkLayer(where: string, layer: TfLayer): TfOperands {
  if (!isObject(layer)) throw new OptionError(where, 'the weights of a layer', layer);
  const { v = null, u, bias = null, guide = null, innerActivation = 'none' } = layer;
  if (v !== null) checkTfTensor(`${where}: v`, v);
  checkTfTensor(`${where}: ${v === null ? 'weight' : 'u'}`, u);
  if (bias !== null) checkTfTensor(`${where}: bias`, bias);
  if (guide !== null) checkGuide(`${where}: guide`, guide);
  return {
    operands: { v, u, bias, guide: guide?.weight ?? null },
    attributes: { alpha: guide?.alpha ?? 0, innerActivation },
  };
}

function checkGuide(where: string, guide: TfGuide): void {
  if (!isObject(guide)) throw new OptionError(where, 'an object of weight and alpha', guide);
  checkTfTensor(where, guide.weight);
}

/** The functional API on the given tfjs. x is [..., in]; the results are ordinary tfjs tensors with gradients. */
export class TfOps {
  readonly #tf: Tfjs;

  constructor(tf: Tfjs) {
    this.#tf = tf;
  }

  /** act(x Wᵀ + bias), weight [out, in] (the transpose of a tfjs Dense kernel), bias [out]. */
  dense(x: Tensor, weight: Tensor, bias?: Tensor | null, options: TfLinearOptions = {}): Tensor {
    checkRank('dense: weight', weight, 2);
    return this.#linear('dense', 'Dense', x, { u: weight, bias }, options);
  }

  /** act(S(x) + bias), S the factors of any structure. @throws {OptionError} for an unknown one. */
  structuredLinear(
    structure: Structure,
    x: Tensor,
    weights: TfLayer,
    options: Pick<TfLinearOptions, 'activation' | 'computeDtype'> = {},
  ): Tensor {
    checkStructure('structuredLinear: structure', structure);
    checkKeys('structuredLinear', options, { activation: 0, computeDtype: 0 });
    if (!isObject(weights)) throw new OptionError('structuredLinear: layer', 'the weights of a layer', weights);
    const { guide, innerActivation, ...layer }: TfLayer = weights;
    const { activation, computeDtype } = options;
    return this.#linear('structuredLinear', DEFINITIONS[structure].kernel, x, layer, {
      activation,
      guide,
      innerActivation,
      computeDtype,
    });
  }

  /** act((x vᵀ) uᵀ + bias), v [rank, in], u [out, rank]. */
  lowRankLinear(x: Tensor, v: Tensor, u: Tensor, bias?: Tensor | null, options: TfLinearOptions = {}): Tensor {
    checkRank('lowRankLinear: v', v, 2);
    checkRank('lowRankLinear: u', u, 2);
    return this.#linear('lowRankLinear', 'LowRankLinear', x, { v, u, bias }, options);
  }

  /** Block-diagonal v [nblocks, rank/nblocks, in/nblocks], then dense u [out, rank]. */
  blockDenseLinear(x: Tensor, v: Tensor, u: Tensor, bias?: Tensor | null, options: TfLinearOptions = {}): Tensor {
    checkRank('blockDenseLinear: v', v, 3);
    checkRank('blockDenseLinear: u', u, 2);
    return this.#linear('blockDenseLinear', 'BlockDenseLinear', x, { v, u, bias }, options);
  }

  /** Monarch: block-diagonal v [K, q, p], shuffle, block-diagonal u [L, s, r], K·q = L·r. */
  blockShuffleLinear(x: Tensor, v: Tensor, u: Tensor, bias?: Tensor | null, options: TfLinearOptions = {}): Tensor {
    checkRank('blockShuffleLinear: v', v, 3);
    checkRank('blockShuffleLinear: u', u, 3);
    return this.#linear('blockShuffleLinear', 'BlockShuffleLinear', x, { v, u, bias }, options);
  }

  /** fc2(act(fc1(x))), each layer dense or structured, in one kernel. */
  structuredFFN(x: Tensor, fc1: TfLayer, fc2: TfLayer, options: TfFeedForwardOptions = {}): Tensor {
    const where = 'structuredFFN';
    checkKeys(where, options, { activation: 0, computeDtype: 0 });
    const { activation = FFN_ACTIVATION, computeDtype = 'float32' } = options;
    const first = checkLayer(`${where}: fc1`, fc1);
    const second = checkLayer(`${where}: fc2`, fc2);
    const operands = [...listLayer(first.operands, '1'), ...listLayer(second.operands, '2')];
    const layers = [first.attributes, second.attributes] as const;
    return this.run(where, 'StructuredFFN', x, operands, { activation, layers, computeDtype });
  }

  #linear(where: string, kernel: string, x: Tensor, layer: TfLayer, options: TfLinearOptions): Tensor {
    checkKeys(where, options, { activation: 0, guide: 0, innerActivation: 0, computeDtype: 0 });
    const { activation = 'none', guide, innerActivation, computeDtype = 'float32' } = options;
    const { operands, attributes } = checkLayer(where, { ...layer, guide, innerActivation });
    return this.run(where, kernel, x, listLayer(operands), { activation, layers: [attributes, PLAIN], computeDtype });
  }

  /** Any of the kernels, by its name and the names of its weights, checked ones; `where` begins the messages. */
  run(
    where: string,
    kernel: string,
    x: Tensor,
    weights: readonly [string, Tensor][],
    attributes: CallAttributes,
  ): Tensor {
    const tf = this.#tf;
    checkTfTensor(`${where}: x`, x);
    checkBackend(tf, where, kernel);
    const operands = ['x', ...weights.map(([name]) => name)];
    const training = tf.engine().isTapeOn();
    // What the kernel saves for its gradient belongs to this scope, and to the gradient's tape where one records.
    return tf.tidy(where, () => {
      const inputs = [x, ...weights.map(([, tensor]) => tensor)];
      return runKernel(tf, kernel, inputs, { operands, ...plainAttributes(attributes), training })[0]!;
    });
  }
}
