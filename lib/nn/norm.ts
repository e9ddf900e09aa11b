import { ones, zeros } from '../creation';
import { checkInteger } from '../errors';
import { layerNorm, NORM_EPS, rmsNorm } from '../ops';
import { checkKeys } from '../options';
import type { Tensor } from '../tensor';
import { Module } from './module';

export interface NormOptions {
  /** Added to the variance. Default: 1e-5. */
  readonly eps?: number;
  /** LayerNorm only. Default: true. */
  readonly bias?: boolean;
}

/** Parameters: `weight` and `bias` [features]. */
export class LayerNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
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

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps);
  }
}

/** Parameter: `weight` [features]. */
export class RMSNorm extends Module {
  readonly weight: Tensor;
  readonly eps: number;

  constructor(features: number, options: Pick<NormOptions, 'eps'> = {}) {
    super();
    checkKeys('RMSNorm', options, { eps: 0 });
    const { eps = NORM_EPS } = options;
    checkInteger('RMSNorm: features', features);
    this.eps = eps;
    this.weight = this.addParameter('weight', ones([features]));
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, this.eps);
  }
}
