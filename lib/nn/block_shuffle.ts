import { checkChoice, checkInteger, OptionError } from '../errors';
import type { Tensor } from '../tensor';
import { initWeight } from './init';
import { generatorOf, LinearLayer, type LinearLayerOptions } from './linear_layer';
import { blockShuffleFor, checkRatio, exclusive } from './sizes';

/**
 * Monarch: a block-diagonal product, a shuffle, another block-diagonal product. With q = min(in, out)/nblocks, parameters:
 * `v` [nblocks, q, in/nblocks], `u` [nblocks, out/nblocks, q], `bias` [out].
 */
export class BlockShuffleLinear extends LinearLayer {
  readonly structure = 'blockshuffle';
  readonly nblocks: number;
  readonly v: Tensor;
  readonly u: Tensor;

  /** @throws {OptionError} unless nblocks divides in and out. */
  constructor(options: LinearLayerOptions) {
    const where = 'BlockShuffleLinear';
    super(where, options);
    const { inFeatures, outFeatures } = this;
    exclusive(where, options, ['nblocks']);
    if (options.ratio !== undefined) checkRatio(where, options.ratio);
    const nblocks = options.nblocks ?? blockShuffleFor(options.ratio!, inFeatures, outFeatures);
    checkInteger(`${where}: nblocks`, nblocks);
    if (inFeatures % nblocks !== 0 || outFeatures % nblocks !== 0)
      throw new OptionError(
        `${where}: nblocks`,
        `a divisor of inFeatures (${inFeatures}) and outFeatures (${outFeatures})`,
        nblocks,
      );
    this.nblocks = nblocks;

    const generator = generatorOf(options);
    const { init = 'ortho' } = options;
    checkChoice(`${where}: init`, init, ['ortho', 'normal', 'xavier']);
    const inner = Math.min(inFeatures, outFeatures) / nblocks;
    this.v = this.addParameter('v', initWeight(generator, [nblocks, inner, inFeatures / nblocks], init));
    this.u = this.addParameter('u', initWeight(generator, [nblocks, outFeatures / nblocks, inner], init));
    this.addBias(options.bias);
  }

  protected sizes(): { nblocks: number } {
    return { nblocks: this.nblocks };
  }
}
