/** Linear layers, dense and structured, with bias, activation and the mix of a dense guide in one kernel call. */
import { needsGrad, record } from '../autograd';
import { checkNumber, formatShape, OptionError, runNative, ShapeError } from '../errors';
import { kernels } from '../kernels';
import { native } from '../native';
import { checkKeys, isObject } from '../options';
import { withLast } from '../sizes';
import type { Shape, Tensor } from '../tensor';
import { type Activation, activatedFeatures, checkActivation } from './activation';
import { checkSameKind, checkSameShape, checkTensor, emptyAs, gradientsFor, rowsOf } from './check';
import type { InnerActivation } from './inner_activation';
import { type LinearDims, linearDims } from './linear_dims';

/** A dense guide next to the factors: y = guideScale · x Wᵀ + factorScale · S(x). */
export interface Guide {
  /** W [out, in]. */
  readonly weight: Tensor;
  /** Weight of the guide. */
  readonly guideScale: number;
  /** Weight of the factors. */
  readonly factorScale: number;
}

/** The tensors of one linear layer. */
export interface LinearWeights {
  /** First factor [K, q, p] or [q, p]; left out for a dense layer. */
  readonly v?: Tensor | null;
  /** Second factor [L, s, r] or [s, r], or the dense weight [out, in]. */
  readonly u: Tensor;
  /** [out]. */
  readonly bias?: Tensor | null;
  /** A dense matrix that is mixed in. Default: none. */
  readonly guide?: Guide | null;
  /** Between the factors: u·σ(v x). Default: none. */
  readonly innerActivation?: InnerActivation;
}

/** Options of the linear ops. */
export interface LinearOptions {
  /** Default: none. */
  activation?: Activation;
  /** Added to the result after the activation; it has the shape of the result. */
  residual?: Tensor | null;
}

export interface FactorOptions extends LinearOptions {
  /** Between the factors: u·σ(v x). Default: none. */
  innerActivation?: InnerActivation;
}

/** What a kernel call needs of one layer: checked weights and their sizes. */
export interface CheckedLinear {
  readonly dims: LinearDims;
  readonly v: Tensor | null;
  readonly u: Tensor;
  readonly bias: Tensor | null;
  readonly guide: Tensor | null;
  readonly factorScale: number;
  readonly guideScale: number;
}

/**
 * @throws {ShapeError | DTypeError | DeviceError | DisposedError | OptionError} naming the weight that does not fit.
 */
export function checkLinear(where: string, weights: LinearWeights): CheckedLinear {
  if (!isObject(weights)) throw new OptionError(`${where}: weights`, 'an object of tensors', weights);
  const { u, v = null, bias = null, guide = null, innerActivation } = weights as LinearWeights;
  checkTensor(`${where}: ${v ? 'u' : 'weight'}`, u);
  if (v) checkTensor(`${where}: v`, v);
  const dims = linearDims(where, v?.shape ?? null, u.shape, innerActivation);
  if (bias) {
    checkTensor(`${where}: bias`, bias);
    checkSameShape(`${where}: bias`, bias, [dims.outFeatures]);
  }
  if (guide !== null) {
    if (!isObject(guide)) throw new OptionError(`${where}: guide`, 'an object of a weight and scales', guide);
    checkTensor(`${where}: guide`, guide.weight);
    checkSameShape(`${where}: guide`, guide.weight, [dims.outFeatures, dims.inFeatures]);
    checkNumber(`${where}: guideScale`, guide.guideScale);
    checkNumber(`${where}: factorScale`, guide.factorScale);
  }
  checkSameKind(where, u, v, bias, guide?.weight);
  return {
    dims,
    v,
    u,
    bias,
    guide: guide?.weight ?? null,
    factorScale: guide?.factorScale ?? 1,
    guideScale: guide?.guideScale ?? 0,
  };
}

/** Output shape of a layer on x. @throws {ShapeError} */
export function linearOutput(where: string, x: Tensor, dims: LinearDims, activation: Activation): Shape {
  if (activation === 'swiglu' && dims.outFeatures % 2 !== 0)
    throw new ShapeError(where, 'an even number of output features for swiglu', String(dims.outFeatures));
  return withLast(x.shape, activatedFeatures(activation, dims.outFeatures));
}

/** The tensor to add to a result of that shape, if any. @throws {ShapeError | DTypeError | DeviceError} */
export function checkResidual(
  where: string,
  residual: Tensor | null | undefined,
  like: Tensor,
  shape: Shape,
): Tensor | null {
  if (!residual) return null;
  checkTensor(`${where}: residual`, residual);
  checkSameShape(`${where}: residual`, residual, shape);
  checkSameKind(where, like, residual);
  return residual;
}

/** Any layer of the family: `structuredLinear(x, { v, u, bias, guide }, { activation })`; x [..., in] → [..., out]. */
export function structuredLinear(x: Tensor, weights: LinearWeights, options: LinearOptions = {}): Tensor {
  return apply('structuredLinear', x, weights, options);
}

/** Dense: act(x Wᵀ + bias) + residual, weight [out, in], bias [out]; x [..., in] → [..., out]. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null, options: LinearOptions = {}): Tensor {
  return apply('linear', x, { u: weight, bias }, options);
}

/** act(σ(x vᵀ) uᵀ + bias) + residual, v [rank, in], u [out, rank]. */
export function lowRankLinear(
  x: Tensor,
  v: Tensor,
  u: Tensor,
  bias?: Tensor | null,
  { innerActivation, ...options }: FactorOptions = {},
): Tensor {
  checkRanks('lowRankLinear', v, 2, u, 2);
  return apply('lowRankLinear', x, { v, u, bias, innerActivation }, options);
}

/** Block-diagonal v [nblocks, rank/nblocks, in/nblocks], then dense u [out, rank]. */
export function blockDenseLinear(
  x: Tensor,
  v: Tensor,
  u: Tensor,
  bias?: Tensor | null,
  { innerActivation, ...options }: FactorOptions = {},
): Tensor {
  checkRanks('blockDenseLinear', v, 3, u, 2);
  return apply('blockDenseLinear', x, { v, u, bias, innerActivation }, options);
}

/**
 * Monarch: block-diagonal v [K, q, p], shuffle, block-diagonal u [L, s, r], K·q = L·r; the paper has K = L = nblocks.
 */
export function blockShuffleLinear(
  x: Tensor,
  v: Tensor,
  u: Tensor,
  bias?: Tensor | null,
  { innerActivation, ...options }: FactorOptions = {},
): Tensor {
  checkRanks('blockShuffleLinear', v, 3, u, 3);
  return apply('blockShuffleLinear', x, { v, u, bias, innerActivation }, options);
}

function checkRanks(where: string, v: Tensor, vRank: number, u: Tensor, uRank: number): void {
  checkTensor(`${where}: v`, v);
  checkTensor(`${where}: u`, u);
  if (v.rank !== vRank) throw new ShapeError(`${where}: v`, `${vRank} dimensions`, formatShape(v.shape));
  if (u.rank !== uRank) throw new ShapeError(`${where}: u`, `${uRank} dimensions`, formatShape(u.shape));
}

function apply(where: string, x: Tensor, weights: LinearWeights, options: LinearOptions): Tensor {
  checkKeys(where, options, { activation: 0, residual: 0 });
  const activation = options.activation ?? 'none';
  checkActivation(`${where}: activation`, activation);
  checkTensor(`${where}: x`, x);
  const layer = checkLinear(where, weights);
  const { dims, v, u, bias, guide, factorScale: factor_scale, guideScale: guide_scale } = layer;
  const n = rowsOf(`${where}: x`, x, dims.inFeatures);
  checkSameKind(where, x, u);
  const shape = linearOutput(where, x, dims, activation);
  const residual = checkResidual(where, options.residual, x, shape);
  const y = emptyAs(shape, x);

  const all = [x, v, u, guide, bias, residual];
  const inputs = all.filter((t) => t !== null);
  const saving = needsGrad(...inputs);
  const h = saving && v ? emptyAs([n, dims.hidden], x) : null;
  const pre = saving && activation !== 'none' ? emptyAs([n, dims.outFeatures], x) : null;
  const code = native.activations[activation];
  runNative(() =>
    kernels.linear_forward({
      x,
      v,
      u,
      guide,
      bias,
      residual,
      h,
      pre,
      y,
      n,
      dims: dims.sizes,
      factor_scale,
      guide_scale,
      activation: code,
    }),
  );

  const backward = (dy: Tensor) => {
    const gradients = gradientsFor(x, v, u, guide, bias);
    const [dx, dv, du, dguide, dbias] = gradients;
    kernels.linear_backward({
      dy,
      x,
      v,
      u,
      guide,
      h,
      pre,
      dx,
      dv,
      du,
      dguide,
      dbias,
      n,
      dims: dims.sizes,
      factor_scale,
      guide_scale,
      activation: code,
    });
    h?.dispose();
    pre?.dispose();
    return [...gradients, dy].filter((_, i) => all[i] !== null);
  };
  return record(y, inputs, backward, [x, v, u, guide]);
}

/** The dense matrix [out, in] that the factors stand for, without an activation between them. Not differentiable. */
export function mergeFactors(v: Tensor, u: Tensor): Tensor {
  checkTensor('mergeFactors: v', v);
  checkTensor('mergeFactors: u', u);
  const dims = linearDims('mergeFactors', v.shape, u.shape);
  checkSameKind('mergeFactors', v, u);
  const weight = emptyAs([dims.outFeatures, dims.inFeatures], v);
  runNative(() => kernels.linear_merge({ v, u, weight, dims: dims.sizes }));
  return weight;
}
