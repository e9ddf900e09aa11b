/** Self-guided training: a dense matrix helps a structured layer at first and is then annealed away. */
import { noGrad } from '../autograd';
import { checkInstance, OptionError } from '../errors';
import { add, type LinearOptions, type LinearWeights, scale, structuredLinear } from '../ops';
import { tidy } from '../scope';
import type { Tensor } from '../tensor';
import { Guidance } from './guidance';
import { type LinearForward, LinearLayer } from './linear_layer';
import { Module } from './module';

/**
 * Wraps any structured layer. The guide starts as the product of the factors. So at the start, for any α, the function
 * is that of the layer, unless there is an activation between the factors. Parameters: the layer's under their own
 * names, and `guide` [out, in] until `release`.
 */
export class SelfGuided extends Module implements LinearForward {
  /** The structured layer. */
  readonly layer: LinearLayer;
  /** The schedule, which all layers of a model share. */
  readonly guidance: Guidance;
  #guide: Tensor | null;

  /** @throws {OptionError} for a dense layer, which needs no guide. */
  constructor(layer: LinearLayer, guidance: Guidance) {
    super();
    checkInstance('SelfGuided: layer', layer, LinearLayer);
    checkInstance('SelfGuided: guidance', guidance, Guidance);
    if (layer.structure === 'dense') throw new OptionError('SelfGuided: layer', 'a structured layer', 'a dense one');
    this.layer = layer;
    this.guidance = guidance;
    for (const [name, value] of layer.namedParameters()) this.addParameter(name, value);
    this.#guide = this.addParameter('guide', layer.product());
  }

  /** W [out, in]; null once released. */
  get guide(): Tensor | null {
    return this.#guide;
  }

  /** Features of the input. */
  get inFeatures(): number {
    return this.layer.inFeatures;
  }

  /** Features of the result, before an activation. */
  get outFeatures(): number {
    return this.layer.outFeatures;
  }

  /** The operands of one forward call. Draws from the schedule in training. */
  weights(): LinearWeights {
    this.checkAlive('weights');
    const plain = this.layer.weights();
    if (this.#guide === null) return plain;
    const { guideScale, factorScale } = this.guidance.scales(this.training);
    return guideScale === 0 ? plain : { ...plain, guide: { weight: this.#guide, guideScale, factorScale } };
  }

  /** Bias [outFeatures] of the layer; null where there is none. */
  get bias(): Tensor | null {
    return this.layer.bias;
  }

  /** x [..., inFeatures] → [..., outFeatures], halved by swiglu. */
  forward(x: Tensor, options: LinearOptions = {}): Tensor {
    this.checkAlive('forward');
    return structuredLinear(x, this.weights(), options);
  }

  /**
   * The dense matrix that evaluation applies, α·W + (1−α)·S [out, in], in new memory.
   * @throws {OptionError} if S has an activation between its factors.
   */
  merge(): Tensor {
    this.checkAlive('merge');
    const guide = this.#guide;
    if (guide === null) return this.layer.merge();
    const { guideScale, factorScale } = this.guidance.scales(false);
    return noGrad(() => tidy(() => add(scale(guide, guideScale), scale(this.layer.merge(), factorScale))));
  }

  /** Makes the guide the product of the factors again, after other factors were loaded. */
  resetGuide(): void {
    this.checkAlive('resetGuide');
    const guide = this.#guide;
    if (guide === null) return;
    const product = this.layer.product();
    guide.copyFrom(product);
    product.dispose();
  }

  /**
   * Hand-over: frees the guide and its gradient, and only the layer is left. Returns the released guide, so that an
   * optimizer can forget it (`optimizer.remove`), or null when there was none.
   */
  release(): Tensor | null {
    this.checkAlive('release');
    const guide = this.#guide;
    if (guide !== null) this.removeParameter('guide');
    this.#guide = null;
    return guide;
  }

  /** Frees the memory of the layer and the guide; calling it again is harmless. */
  override dispose(): void {
    super.dispose();
    this.layer.dispose();
  }
}

/** Releases every guide below `module`; returns the parameters that an optimizer has to forget. */
export function releaseGuides(module: Module): Tensor[] {
  checkInstance('releaseGuides: module', module, Module);
  return [...module.modules()].flatMap((m) => (m instanceof SelfGuided ? (m.release() ?? []) : []));
}
