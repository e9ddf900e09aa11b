import { checkChoice, checkInteger, OptionError } from '../errors';
import type { Tensor } from '../tensor';
import { initBySvd, initWeight } from './init';
import { generatorOf, LinearLayer, type LinearLayerOptions } from './linear_layer';
import { checkRatio, exclusive, lowRankFor } from './sizes';

/** y = (x vᵀ) uᵀ + bias. Parameters: `v` [rank, in], `u` [out, rank], `bias` [out]. */
export class LowRankLinear extends LinearLayer {
  readonly structure = 'lowrank';
  readonly rank: number;
  readonly v: Tensor;
  readonly u: Tensor;

  /** @throws {OptionError} unless 1 <= rank <= min(in, out). */
  constructor(options: LinearLayerOptions) {
    const where = 'LowRankLinear';
    super(where, options);
    const { inFeatures, outFeatures } = this;
    exclusive(where, options, ['rank']);
    if (options.ratio !== undefined) checkRatio(where, options.ratio);
    const rank = options.rank ?? lowRankFor(options.ratio!, inFeatures, outFeatures);
    checkInteger(`${where}: rank`, rank);
    if (rank > Math.min(inFeatures, outFeatures))
      throw new OptionError(`${where}: rank`, `at most ${Math.min(inFeatures, outFeatures)}`, rank);
    this.rank = rank;

    const generator = generatorOf(options);
    const { init = 'svd' } = options;
    checkChoice(`${where}: init`, init, ['svd', 'normal', 'xavier', 'ortho']);
    const { v, u } =
      init === 'svd'
        ? initBySvd(generator, inFeatures, outFeatures, rank)
        : {
            v: initWeight(generator, [rank, inFeatures], init),
            u: initWeight(generator, [outFeatures, rank], init),
          };
    this.v = this.addParameter('v', v);
    this.u = this.addParameter('u', u);
    this.addBias(options.bias);
  }

  protected sizes(): { rank: number } {
    return { rank: this.rank };
  }
}
