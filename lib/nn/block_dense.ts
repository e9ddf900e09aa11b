import { checkChoice, checkInteger, OptionError } from '../errors';
import type { Tensor } from '../tensor';
import { initWeight } from './init';
import { generatorOf, LinearLayer, type LinearLayerOptions } from './linear_layer';
import { blockDenseFor, checkRatio, exclusive } from './sizes';

/**
 * A block-diagonal product, then a dense one. Parameters: `v` [nblocks, rank/nblocks, in/nblocks], `u` [out, rank],
 * `bias` [out].
 */
export class BlockDenseLinear extends LinearLayer {
  readonly structure = 'blockdense';
  readonly rank: number;
  readonly nblocks: number;
  readonly v: Tensor;
  readonly u: Tensor;

  /** @throws {OptionError} unless nblocks divides in and rank, and rank <= min(in, out). */
  constructor(options: LinearLayerOptions) {
    const where = 'BlockDenseLinear';
    super(where, options);
    const { inFeatures, outFeatures } = this;
    exclusive(where, options, ['rank', 'nblocks']);
    if (options.ratio !== undefined) checkRatio(where, options.ratio);
    const { rank, nblocks } =
      options.ratio !== undefined
        ? blockDenseFor(options.ratio, inFeatures, outFeatures)
        : { rank: options.rank!, nblocks: options.nblocks! };
    checkInteger(`${where}: rank`, rank);
    checkInteger(`${where}: nblocks`, nblocks);
    if (rank > Math.min(inFeatures, outFeatures))
      throw new OptionError(`${where}: rank`, `at most ${Math.min(inFeatures, outFeatures)}`, rank);
    if (inFeatures % nblocks !== 0 || rank % nblocks !== 0)
      throw new OptionError(`${where}: nblocks`, `a divisor of inFeatures (${inFeatures}) and rank (${rank})`, nblocks);
    this.rank = rank;
    this.nblocks = nblocks;

    const generator = generatorOf(options);
    const { init = 'ortho' } = options;
    checkChoice(`${where}: init`, init, ['ortho', 'normal', 'xavier']);
    this.v = this.addParameter('v', initWeight(generator, [nblocks, rank / nblocks, inFeatures / nblocks], init));
    this.u = this.addParameter('u', initWeight(generator, [outFeatures, rank], init));
    this.addBias(options.bias);
  }

  protected sizes(): { rank: number; nblocks: number } {
    return { rank: this.rank, nblocks: this.nblocks };
  }
}
