import { clone } from '../creation';
import { checkChoice } from '../errors';
import type { Tensor } from '../tensor';
import { initWeight } from './init';
import { generatorOf, LinearLayer, type LinearLayerOptions } from './linear_layer';

/** Dense: y = x Wᵀ + bias. Parameters: `weight` [out, in], `bias` [out]. */
export class Linear extends LinearLayer {
  readonly structure = 'dense';
  readonly weight: Tensor;

  constructor(options: LinearLayerOptions) {
    super('Linear', options);
    const { init = 'normal' } = options;
    checkChoice('Linear: init', init, ['normal', 'xavier', 'ortho']);
    this.weight = this.addParameter(
      'weight',
      initWeight(generatorOf(options), [this.outFeatures, this.inFeatures], init),
    );
    this.addBias(options.bias);
  }

  get v(): null {
    return null;
  }

  get u(): Tensor {
    return this.weight;
  }

  override merge(): Tensor {
    return clone(this.weight);
  }

  protected sizes(): object {
    return {};
  }
}
