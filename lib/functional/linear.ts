/** One linear layer, dense or structured, forward and backward on raw typed arrays. */
import { OptionError } from '../errors';
import { native } from '../native';
import { checkMergeable } from '../ops/inner_activation';
import { copyOfDims, type LinearDims } from '../ops/linear_dims';
import { numel } from '../tensor';
import { checkLength, checkRows, type RawArray, rawTypeOf } from './buffers';
import { type Call, checkObject, checkOptions, type OutArrays, runCall, runCallAsync, select } from './call';
import { type FactorSpec, type LinearShapes, type LinearSpec, type ResolvedLinear, resolveLinear } from './spec';
import { checkArrays, gradientLengths, type LinearArrays, savedHidden } from './weights';

/** Operands of forward. */
export interface LinearInputs<T extends RawArray = Float32Array> extends LinearArrays<T> {
  /** [tokens, inFeatures]. */
  readonly x: T;
}

/** What forward keeps for backward. */
export interface LinearSaved<T extends RawArray = Float32Array> {
  /**
   * The intermediate [tokens, dims.hidden], before the inner activation, in the order of u; absent for a dense layer.
   */
  readonly h?: T;
  /** The pre-activation [tokens, outFeatures]; absent without an activation. */
  readonly pre?: T;
}

/** Options of forward. */
export interface LinearForwardOptions<T extends RawArray = Float32Array> {
  /** Whether to return what backward needs. Default: false. */
  readonly training?: boolean;
  /** Arrays for the results, instead of fresh ones. */
  readonly out?: OutArrays<'y' | 'h' | 'pre', T>;
}

/** Results of forward. */
export interface LinearResult<T extends RawArray = Float32Array> {
  /** [tokens, features]. */
  readonly y: T;
  /** For backward; empty unless `training`. */
  readonly saved: LinearSaved<T>;
}

/** Operands of backward. */
export interface LinearBackwardInputs<T extends RawArray = Float32Array> extends LinearInputs<T> {
  /** Gradient with respect to y, [tokens, features]. */
  readonly dy: T;
  /**
   * From forward with `training`. `pre` is needed with an activation, `h` with an inner one; else they are computed
   * again.
   */
  readonly saved?: LinearSaved<T>;
}

/** Names of the gradients. */
export type LinearGradient = 'dx' | 'dv' | 'du' | 'dguide' | 'dbias';
/** Each has the shape of the array that it is the gradient of. */
export type LinearGradients<T extends RawArray = Float32Array> = { readonly [Name in LinearGradient]?: T };

/** Options of backward. */
export interface LinearBackwardOptions<T extends RawArray = Float32Array> {
  /** Default: all gradients of the layer (dguide only with a guide). */
  readonly needs?: readonly LinearGradient[];
  /** Arrays for the results, instead of fresh ones. */
  readonly out?: OutArrays<LinearGradient, T>;
}

/**
 * A layer whose sizes are checked once and whose calls take and return Float32Arrays, or Uint16Arrays of the bits of bfloat16,
 * row-major. All arrays of a call are of one type. The synchronous calls work on the caller's memory, which may be a
 * SharedArrayBuffer. The asynchronous ones copy the inputs before they return, compute on a native thread and refuse shared
 * memory. Every call throws (or rejects with) ShapeError, DTypeError, OptionError,
 * DisposedError (an array that was transferred away) or OutOfMemoryError.
 */
export class FunctionalLinear {
  readonly #layer: ResolvedLinear;

  /** What it was defined by: a frozen copy. */
  readonly spec: LinearSpec | FactorSpec;

  /** @param spec what it is defined by. @throws {OptionError | ShapeError} for sizes that do not fit. */
  constructor(spec: LinearSpec | FactorSpec) {
    this.#layer = resolveLinear('linear', spec);
    this.spec = Object.freeze({ ...spec });
  }

  /** Shapes of the weights. */
  get shapes(): LinearShapes {
    return this.#layer.shapes;
  }

  /** Its sizes in the family of all structures. */
  get dims(): LinearDims {
    return copyOfDims(this.#layer.dims);
  }

  /** Features of y: outFeatures, or half of them after swiglu. */
  get features(): number {
    return this.#layer.features;
  }

  /** Multiply-accumulates per token. */
  get macs(): number {
    return this.#layer.dims.macs;
  }

  /** y = act(alpha · x Wᵀ + (1 − alpha) · S(x) + bias). */
  forward<T extends RawArray = Float32Array>(
    inputs: LinearInputs<T>,
    options?: LinearForwardOptions<T>,
  ): LinearResult<T> {
    const { call, out } = this.#forward(inputs, options);
    return asResult(runCall(call, out));
  }

  /** The same on a native thread. Inputs are copied before it returns. */
  async forwardAsync<T extends RawArray = Float32Array>(
    inputs: LinearInputs<T>,
    options?: LinearForwardOptions<T>,
  ): Promise<LinearResult<T>> {
    const { call, out } = this.#forward(inputs, options);
    return asResult(await runCallAsync(call, out));
  }

  /** Gradients by x and all weights, or those in `needs`. */
  backward<T extends RawArray = Float32Array>(
    inputs: LinearBackwardInputs<T>,
    options?: LinearBackwardOptions<T>,
  ): LinearGradients<T> {
    const { call, out } = this.#backward(inputs, options);
    return runCall(call, out);
  }

  /** The same on a native thread. Inputs are copied before it returns. */
  async backwardAsync<T extends RawArray = Float32Array>(
    inputs: LinearBackwardInputs<T>,
    options?: LinearBackwardOptions<T>,
  ): Promise<LinearGradients<T>> {
    const { call, out } = this.#backward(inputs, options);
    return runCallAsync(call, out);
  }

  /**
   * The dense weight [outFeatures, inFeatures] of the factors alone.
   * @throws {OptionError} for a dense layer, and where an activation is between the factors.
   */
  merge<T extends RawArray = Float32Array>(weights: Pick<LinearArrays<T>, 'v' | 'u'>, out?: T): T {
    const { shapes, dims } = this.#layer;
    if (shapes.v === null) throw new OptionError('linear.merge', 'a layer of two factors', 'a dense one');
    checkMergeable('linear.merge', dims.innerActivation);
    checkObject('linear.merge: inputs', weights);
    const { v: givenV, u: givenU } = weights;
    const type = rawTypeOf('linear.merge: u', givenU);
    const { v, u } = checkArrays('linear.merge', shapes, { v: givenV, u: givenU }, type);
    const call: Call<'v' | 'u', 'weight', T> = {
      where: 'linear.merge',
      type,
      inputs: { v, u },
      outputs: { weight: numel(shapes.guide) },
      run: (kernels, a, o) => kernels.linear_merge({ v: a.v, u: a.u, weight: o.weight, dims: dims.sizes }),
    };
    return runCall(call, out === undefined ? {} : { weight: out }).weight!;
  }

  #forward<T extends RawArray>(inputs: LinearInputs<T>, options?: LinearForwardOptions<T>) {
    const where = 'linear.forward';
    const { training = false, out = {} } = checkOptions(where, options);
    const { dims, shapes, activation, features } = this.#layer;
    checkObject(`${where}: inputs`, inputs);
    const { x } = inputs;
    const type = rawTypeOf(`${where}: x`, x);
    const {
      v,
      u,
      bias,
      guide,
      factorScale: factor_scale,
      guideScale: guide_scale,
    } = checkArrays(where, shapes, inputs, type);
    const n = checkRows(`${where}: x`, x, dims.inFeatures, type);
    const code = native.activations[activation];
    const call: Call<'x' | 'v' | 'u' | 'guide' | 'bias', 'y' | 'h' | 'pre', T> = {
      where,
      type,
      inputs: { x, v, u, guide, bias },
      outputs: {
        y: n * features,
        h: training ? n * dims.hidden : 0,
        pre: training && activation !== 'none' ? n * dims.outFeatures : 0,
      },
      run: (kernels, { x, v, u, guide, bias }, { h, pre, y }) =>
        kernels.linear_forward({
          x,
          v,
          u,
          guide,
          bias,
          residual: null,
          h,
          pre,
          y,
          n,
          dims: dims.sizes,
          factor_scale,
          guide_scale,
          activation: code,
        }),
    };
    return { call, out };
  }

  #backward<T extends RawArray>(inputs: LinearBackwardInputs<T>, options?: LinearBackwardOptions<T>) {
    const where = 'linear.backward';
    const { needs, out = {} } = checkOptions(where, options);
    const { dims, shapes, activation, features } = this.#layer;
    checkObject(`${where}: inputs`, inputs);
    const { x, dy, saved = {} } = inputs;
    const type = rawTypeOf(`${where}: x`, x);
    const weights = checkArrays(where, shapes, inputs, type);
    const { v, u, guide, factorScale: factor_scale, guideScale: guide_scale } = weights;
    checkObject(`${where}: saved`, saved);
    const n = checkRows(`${where}: x`, x, dims.inFeatures, type);
    checkLength(`${where}: dy`, dy, n * features, type);
    const h = savedHidden(`${where}: saved.h`, saved.h, n, dims, type);
    const pre = activation === 'none' ? null : saved.pre;
    if (pre !== null) checkLength(`${where}: saved.pre`, pre, n * dims.outFeatures, type);
    const code = native.activations[activation];
    const call: Call<'dy' | 'x' | 'v' | 'u' | 'guide' | 'h' | 'pre', LinearGradient, T> = {
      where,
      type,
      inputs: { dy, x, v, u, guide, h, pre },
      outputs: select(where, { dx: n * dims.inFeatures, ...gradientLengths(shapes, guide !== null) }, needs),
      run: (kernels, { dy, x, v, u, guide, h, pre }, { dx, dv, du, dguide, dbias }) =>
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
        }),
    };
    return { call, out };
  }
}

const asResult = <T extends RawArray>({ y, h, pre }: OutArrays<'y' | 'h' | 'pre', T>): LinearResult<T> => ({
  y: y!,
  saved: { h, pre },
});

/** @throws {OptionError | ShapeError} for sizes that do not fit. */
export const defineLinear = (spec: LinearSpec | FactorSpec): FunctionalLinear => new FunctionalLinear(spec);
