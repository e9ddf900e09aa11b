/** The whole feedforward network fc2(act(fc1(x))), forward and backward on raw typed arrays. */
import { native } from '../native';
import { checkLength, checkRows, type RawArray, rawTypeOf } from './buffers';
import { type Call, checkObject, checkOptions, type OutArrays, runCall, runCallAsync, select } from './call';
import type { LinearGradients } from './linear';
import { type FeedForwardSpec, type LinearShapes, type ResolvedLinear, resolveFeedForward } from './spec';
import { type CheckedArrays, checkArrays, gradientLengths, type LinearArrays, savedHidden } from './weights';

/** Operands of forward. */
export interface FeedForwardInputs<T extends RawArray = Float32Array> {
  /** [tokens, fc1.inFeatures]. */
  readonly x: T;
  /** Weights of the first layer. */
  readonly fc1: LinearArrays<T>;
  /** Weights of the second layer. */
  readonly fc2: LinearArrays<T>;
}

/** What forward keeps for backward: the intermediates of structured layers and fc1's pre-activation. */
export interface FeedForwardSaved<T extends RawArray = Float32Array> {
  /** Between the factors of fc1 [tokens, hidden]. */
  readonly h1?: T;
  /** Pre-activation [tokens, fc1.outFeatures]. */
  readonly pre?: T;
  /** Between the factors of fc2 [tokens, hidden]. */
  readonly h2?: T;
}

/** Options of forward. */
export interface FeedForwardForwardOptions<T extends RawArray = Float32Array> {
  /** Whether to return what backward needs. Default: false. */
  readonly training?: boolean;
  /** Arrays for the results, instead of fresh ones. */
  readonly out?: OutArrays<'y' | 'h1' | 'pre' | 'h2', T>;
}

/** Results of forward. */
export interface FeedForwardResult<T extends RawArray = Float32Array> {
  /** [tokens, fc2.outFeatures]. */
  readonly y: T;
  /** For backward; empty unless `training`. */
  readonly saved: FeedForwardSaved<T>;
}

/** Operands of backward. */
export interface FeedForwardBackwardInputs<T extends RawArray = Float32Array> extends FeedForwardInputs<T> {
  /** Gradient with respect to y. */
  readonly dy: T;
  /**
   * From forward with `training`. `pre` is needed. h1 and h2 are needed with an inner activation, else they are
   * computed again.
   */
  readonly saved: FeedForwardSaved<T>;
}

/** Names of the gradients. */
export type FeedForwardGradient = 'dx' | `${'fc1' | 'fc2'}.${'dv' | 'du' | 'dguide' | 'dbias'}`;

/** Gradients, each of the shape of what it belongs to. */
export interface FeedForwardGradients<T extends RawArray = Float32Array> {
  /** By the input. */
  readonly dx?: T;
  /** By the weights of the first layer. */
  readonly fc1: Omit<LinearGradients<T>, 'dx'>;
  /** By the weights of the second layer. */
  readonly fc2: Omit<LinearGradients<T>, 'dx'>;
}

/** Options of backward. */
export interface FeedForwardBackwardOptions<T extends RawArray = Float32Array> {
  /** Default: all that the layers have. */
  readonly needs?: readonly FeedForwardGradient[];
  /** Arrays for the results, instead of fresh ones, such as `{ dx, 'fc1.dv': array }`. */
  readonly out?: OutArrays<FeedForwardGradient, T>;
}

type WeightInput = `${'v' | 'u' | 'guide'}${1 | 2}`;

/** As FunctionalLinear, for two layers in one kernel call. */
export class FunctionalFeedForward {
  readonly #first: ResolvedLinear;
  readonly #second: ResolvedLinear;

  /** What it was defined by: a frozen copy. */
  readonly spec: FeedForwardSpec;

  /** @param spec what it is defined by. @throws {OptionError | ShapeError} for sizes that do not fit. */
  constructor(spec: FeedForwardSpec) {
    const { fc1, fc2 } = resolveFeedForward('feedForward', spec);
    this.spec = Object.freeze({ ...spec });
    this.#first = fc1;
    this.#second = fc2;
  }

  /** Shapes of the weights of both layers. */
  get shapes(): { readonly [Layer in 'fc1' | 'fc2']: LinearShapes } {
    return { fc1: this.#first.shapes, fc2: this.#second.shapes };
  }

  /** Multiply-accumulates per token. */
  get macs(): number {
    return this.#first.dims.macs + this.#second.dims.macs;
  }

  /** y = fc2(act(fc1(x))). */
  forward<T extends RawArray = Float32Array>(
    inputs: FeedForwardInputs<T>,
    options?: FeedForwardForwardOptions<T>,
  ): FeedForwardResult<T> {
    const { call, out } = this.#forward(inputs, options);
    return asResult(runCall(call, out));
  }

  /** The same on a native thread. Inputs are copied before it returns. */
  async forwardAsync<T extends RawArray = Float32Array>(
    inputs: FeedForwardInputs<T>,
    options?: FeedForwardForwardOptions<T>,
  ): Promise<FeedForwardResult<T>> {
    const { call, out } = this.#forward(inputs, options);
    return asResult(await runCallAsync(call, out));
  }

  /** Gradients by x and all weights, or those in `needs`. */
  backward<T extends RawArray = Float32Array>(
    inputs: FeedForwardBackwardInputs<T>,
    options?: FeedForwardBackwardOptions<T>,
  ): FeedForwardGradients<T> {
    const { call, out } = this.#backward(inputs, options);
    return asGradients(runCall(call, out));
  }

  /** The same on a native thread. Inputs are copied before it returns. */
  async backwardAsync<T extends RawArray = Float32Array>(
    inputs: FeedForwardBackwardInputs<T>,
    options?: FeedForwardBackwardOptions<T>,
  ): Promise<FeedForwardGradients<T>> {
    const { call, out } = this.#backward(inputs, options);
    return asGradients(await runCallAsync(call, out));
  }

  /** Checked weights, rows of x, and the scales that both kernels take. */
  #prepare<T extends RawArray>(where: string, inputs: FeedForwardInputs<T>) {
    checkObject(`${where}: inputs`, inputs);
    const { x } = inputs;
    const type = rawTypeOf(`${where}: x`, x);
    const first = checkArrays(`${where}: fc1`, this.#first.shapes, inputs.fc1, type);
    const second = checkArrays(`${where}: fc2`, this.#second.shapes, inputs.fc2, type);
    const n = checkRows(`${where}: x`, x, this.#first.dims.inFeatures, type);
    const { factorScale: factor_scale1, guideScale: guide_scale1 } = first;
    const { factorScale: factor_scale2, guideScale: guide_scale2 } = second;
    const scales = { factor_scale1, guide_scale1, factor_scale2, guide_scale2 };
    return { type, first, second, x, n, scales };
  }

  #forward<T extends RawArray>(inputs: FeedForwardInputs<T>, options?: FeedForwardForwardOptions<T>) {
    const where = 'feedForward.forward';
    const { training = false, out = {} } = checkOptions(where, options);
    const { type, first, second, x, n, scales } = this.#prepare(where, inputs);
    const { factor_scale1, guide_scale1, factor_scale2, guide_scale2 } = scales;
    const kept = training ? n : 0;
    const call: Call<'x' | WeightInput | 'bias1' | 'bias2', 'y' | 'h1' | 'pre' | 'h2', T> = {
      where,
      type,
      inputs: { x, ...weightInputs(first, second), bias1: first.bias, bias2: second.bias },
      outputs: {
        y: n * this.#second.features,
        h1: kept * this.#first.dims.hidden,
        pre: kept * this.#first.dims.outFeatures,
        h2: kept * this.#second.dims.hidden,
      },
      run: (kernels, { x, v1, u1, guide1, bias1, v2, u2, guide2, bias2 }, { h1, pre, h2, y }) =>
        kernels.ffn_forward({
          x,
          v1,
          u1,
          guide1,
          bias1,
          v2,
          u2,
          guide2,
          bias2,
          residual: null,
          h1,
          pre,
          h2,
          y,
          n,
          dims1: this.#first.dims.sizes,
          dims2: this.#second.dims.sizes,
          factor_scale1,
          guide_scale1,
          factor_scale2,
          guide_scale2,
          activation: native.activations[this.#first.activation],
        }),
    };
    return { call, out };
  }

  #backward<T extends RawArray>(inputs: FeedForwardBackwardInputs<T>, options?: FeedForwardBackwardOptions<T>) {
    const where = 'feedForward.backward';
    const { needs, out = {} } = checkOptions(where, options);
    const { type, first, second, x, n, scales } = this.#prepare(where, inputs);
    const { factor_scale1, guide_scale1, factor_scale2, guide_scale2 } = scales;
    const { dy, saved = {} } = inputs;
    checkLength(`${where}: dy`, dy, n * this.#second.features, type);
    checkObject(`${where}: saved`, saved);
    const { pre } = saved;
    const h1 = savedHidden(`${where}: saved.h1`, saved.h1, n, this.#first.dims, type);
    checkLength(`${where}: saved.pre`, pre, n * this.#first.dims.outFeatures, type);
    const h2 = savedHidden(`${where}: saved.h2`, saved.h2, n, this.#second.dims, type);
    const fc1 = gradientLengths(this.#first.shapes, first.guide !== null);
    const fc2 = gradientLengths(this.#second.shapes, second.guide !== null);
    const lengths: Record<FeedForwardGradient, number> = {
      dx: n * this.#first.dims.inFeatures,
      'fc1.dv': fc1.dv,
      'fc1.du': fc1.du,
      'fc1.dguide': fc1.dguide,
      'fc1.dbias': fc1.dbias,
      'fc2.dv': fc2.dv,
      'fc2.du': fc2.du,
      'fc2.dguide': fc2.dguide,
      'fc2.dbias': fc2.dbias,
    };
    const call: Call<'dy' | 'x' | WeightInput | 'h1' | 'pre' | 'h2', FeedForwardGradient, T> = {
      where,
      type,
      inputs: { dy, x, ...weightInputs(first, second), h1, pre, h2 },
      outputs: select(where, lengths, needs),
      run: (kernels, { dy, x, v1, u1, guide1, v2, u2, guide2, h1, pre, h2 }, o) =>
        kernels.ffn_backward({
          dy,
          x,
          v1,
          u1,
          guide1,
          v2,
          u2,
          guide2,
          h1,
          pre,
          h2,
          dx: o.dx,
          dv1: o['fc1.dv'],
          du1: o['fc1.du'],
          dguide1: o['fc1.dguide'],
          dbias1: o['fc1.dbias'],
          dv2: o['fc2.dv'],
          du2: o['fc2.du'],
          dguide2: o['fc2.dguide'],
          dbias2: o['fc2.dbias'],
          n,
          dims1: this.#first.dims.sizes,
          dims2: this.#second.dims.sizes,
          factor_scale1,
          guide_scale1,
          factor_scale2,
          guide_scale2,
          activation: native.activations[this.#first.activation],
        }),
    };
    return { call, out };
  }
}

const weightInputs = <T extends RawArray>(first: CheckedArrays<T>, second: CheckedArrays<T>) => ({
  v1: first.v,
  u1: first.u,
  guide1: first.guide,
  v2: second.v,
  u2: second.u,
  guide2: second.guide,
});

const asResult = <T extends RawArray>({
  y,
  h1,
  pre,
  h2,
}: OutArrays<'y' | 'h1' | 'pre' | 'h2', T>): FeedForwardResult<T> => ({
  y: y!,
  saved: { h1, pre, h2 },
});

const asGradients = <T extends RawArray>(g: OutArrays<FeedForwardGradient, T>): FeedForwardGradients<T> => ({
  dx: g.dx,
  fc1: { dv: g['fc1.dv'], du: g['fc1.du'], dguide: g['fc1.dguide'], dbias: g['fc1.dbias'] },
  fc2: { dv: g['fc2.dv'], du: g['fc2.du'], dguide: g['fc2.dguide'], dbias: g['fc2.dbias'] },
});

/** @throws {OptionError | ShapeError} for sizes that do not fit. */
export const defineFeedForward = (spec: FeedForwardSpec): FunctionalFeedForward => new FunctionalFeedForward(spec);
