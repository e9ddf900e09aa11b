/** The weights of one layer as raw arrays. */
import { checkNumber, OptionError } from '../errors';
import type { LinearDims } from '../ops/linear_dims';
import { numel } from '../tensor';
import { checkLength, type RawArray, type RawType } from './buffers';
import { checkObject } from './call';
import type { LinearShapes } from './spec';

/** Weights of one layer, row-major. All arrays of a call are of one type. */
export interface LinearArrays<T extends RawArray = Float32Array> {
  /** First factor; left out for a dense layer. */
  readonly v?: T | null;
  /** Second factor, or the weight [out, in] of a dense layer. */
  readonly u: T;
  /** [out]. */
  readonly bias?: T | null;
  /** Dense guide [out, in] of self-guided training: y = alpha · x Wᵀ + (1 − alpha) · S(x) + bias. */
  readonly guide?: T | null;
  /** Weight of the guide, from 0 to 1; needed with a guide. */
  readonly alpha?: number;
}

export interface CheckedArrays<T extends RawArray> {
  readonly v: T | null;
  readonly u: T;
  readonly bias: T | null;
  readonly guide: T | null;
  readonly factorScale: number;
  readonly guideScale: number;
}

/** @throws {DTypeError | ShapeError | DisposedError | OptionError} naming the array that does not fit. */
export function checkArrays<T extends RawArray>(
  where: string,
  shapes: LinearShapes,
  arrays: LinearArrays<T>,
  type: RawType,
): CheckedArrays<T> {
  checkObject(`${where}: inputs`, arrays);
  const { v = null, u, bias = null, guide = null, alpha } = arrays;
  if (shapes.v === null) {
    if (v !== null) throw new OptionError(`${where}: v`, 'none for a dense layer', v);
  } else {
    checkLength(`${where}: v`, v, numel(shapes.v), type);
  }
  checkLength(`${where}: u`, u, numel(shapes.u), type);
  if (bias !== null) checkLength(`${where}: bias`, bias, numel(shapes.bias), type);
  if (guide === null) {
    if (alpha !== undefined && alpha !== 0) throw new OptionError(`${where}: alpha`, 'none without a guide', alpha);
    return { v, u, bias, guide, factorScale: 1, guideScale: 0 };
  }
  checkLength(`${where}: guide`, guide, numel(shapes.guide), type);
  checkNumber(`${where}: alpha`, alpha, 0, 1);
  return { v, u, bias, guide, factorScale: 1 - alpha, guideScale: alpha };
}

/** The h that forward saved. It may be left out unless there is an inner activation. @throws as checkLength does. */
export function savedHidden<T extends RawArray>(
  where: string,
  h: T | undefined,
  n: number,
  { hidden, innerActivation }: LinearDims,
  type: RawType,
): T | null {
  if (h === undefined && innerActivation === 'none') return null;
  checkLength(where, h, n * hidden, type);
  return h;
}

/** Elements of the gradient of each weight; 0 for weights that the layer does not have. */
export const gradientLengths = (shapes: LinearShapes, guided: boolean) => ({
  dv: shapes.v === null ? 0 : numel(shapes.v),
  du: numel(shapes.u),
  dguide: guided ? numel(shapes.guide) : 0,
  dbias: numel(shapes.bias),
});
