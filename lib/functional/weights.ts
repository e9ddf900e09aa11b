/** The weights of one layer as raw arrays. */
import { checkNumber, OptionError } from '../errors';
import type { LinearDims } from '../ops/linear_dims';
import { numel } from '../tensor';
import { checkLength } from './buffers';
import { checkObject } from './call';
import type { LinearShapes } from './spec';

/** Weights of one layer, row-major. */
export interface LinearArrays {
  /** First factor; left out for a dense layer. */
  readonly v?: Float32Array | null;
  /** Second factor, or the weight [out, in] of a dense layer. */
  readonly u: Float32Array;
  /** [out]. */
  readonly bias?: Float32Array | null;
  /** Dense guide [out, in] of self-guided training: y = alpha · x Wᵀ + (1 − alpha) · S(x) + bias. */
  readonly guide?: Float32Array | null;
  /** Weight of the guide, from 0 to 1; needed with a guide. */
  readonly alpha?: number;
}

export interface CheckedArrays {
  readonly v: Float32Array | null;
  readonly u: Float32Array;
  readonly bias: Float32Array | null;
  readonly guide: Float32Array | null;
  readonly factorScale: number;
  readonly guideScale: number;
}

/** @throws {DTypeError | ShapeError | DisposedError | OptionError} naming the array that does not fit. */
export function checkArrays(where: string, shapes: LinearShapes, arrays: LinearArrays): CheckedArrays {
  checkObject(`${where}: inputs`, arrays);
  const { v = null, u, bias = null, guide = null, alpha } = arrays;
  if (shapes.v === null) {
    if (v !== null) throw new OptionError(`${where}: v`, 'none for a dense layer', v);
  } else {
    checkLength(`${where}: v`, v, numel(shapes.v));
  }
  checkLength(`${where}: u`, u, numel(shapes.u));
  if (bias !== null) checkLength(`${where}: bias`, bias, numel(shapes.bias));
  if (guide === null) {
    if (alpha !== undefined && alpha !== 0) throw new OptionError(`${where}: alpha`, 'none without a guide', alpha);
    return { v, u, bias, guide, factorScale: 1, guideScale: 0 };
  }
  checkLength(`${where}: guide`, guide, numel(shapes.guide));
  checkNumber(`${where}: alpha`, alpha, 0, 1);
  return { v, u, bias, guide, factorScale: 1 - alpha, guideScale: alpha };
}

/** The h that forward saved. It may be left out unless there is an inner activation. @throws as checkLength does. */
export function savedHidden(
  where: string,
  h: Float32Array | undefined,
  n: number,
  { hidden, innerActivation }: LinearDims,
): Float32Array | null {
  if (h === undefined && innerActivation === 'none') return null;
  checkLength(where, h, n * hidden);
  return h;
}

/** Elements of the gradient of each weight; 0 for weights that the layer does not have. */
export const gradientLengths = (shapes: LinearShapes, guided: boolean) => ({
  dv: shapes.v === null ? 0 : numel(shapes.v),
  du: numel(shapes.u),
  dguide: guided ? numel(shapes.guide) : 0,
  dbias: numel(shapes.bias),
});
