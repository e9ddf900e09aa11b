import { ones, zeros } from '../creation';
import { checkInteger } from '../errors';
import { layerNorm, NORM_EPS, rmsNorm } from '../ops';
import { checkKeys } from '../options';
import type { Tensor } from '../tensor';
import { Module } from './module';

/** Options of the norms. */
export interface NormOptions {
  /** Added to the variance. Default: 1e-5. */
  readonly eps?: number;
  /** LayerNorm only. Default: true. */
  readonly bias?: boolean;
}

/** Parameters: `weight` and `bias` [features]. */
export class LayerNorm extends Module {
  /** Scale [features]. */
  readonly weight: Tensor;
  /** Shift [features]; null where there is none. */
  readonly bias: Tensor | null;
  /** Added to the variance. */
  readonly eps: number;

  constructor(features: number, options: NormOptions = {}) {
    super();
    checkKeys('LayerNorm', options, { eps: 0, bias: 0 });
    const { eps = NORM_EPS, bias = true } = options;
    checkInteger('LayerNorm: features', features);
    this.eps = eps;
    this.weight = this.addParameter('weight', ones([features]));
    this.bias = bias ? this.addParameter('bias', zeros([features])) : null;
  }

  /** x [..., features] → the same shape. */
  forward(x: Tensor): Tensor {
    this.checkAlive('forward');
    return layerNorm(x, this.weight, this.bias, this.eps);
  }
}

/** Parameter: `weight` [features]. */
export class RMSNorm extends Module {
  /** Scale [features]. */
  readonly weight: Tensor;
  /** Added to the mean of the squares. */
  readonly eps: number;

  constructor(features: number, options: Pick<NormOptions, 'eps'> = {}) {
    super();
    checkKeys('RMSNorm', options, { eps: 0 });
    const { eps = NORM_EPS } = options;
    checkInteger('RMSNorm: features', features);
    this.eps = eps;
    this.weight = this.addParameter('weight', ones([features]));
  }

  /** x [..., features] → the same shape. */
  forward(x: Tensor): Tensor {
    this.checkAlive('forward');
    return rmsNorm(x, this.weight, this.eps);
  }
}
