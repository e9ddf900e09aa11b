/** A linear layer of the decoder: its factors, and their product where that was found faster. */
import type { Handle } from '../../types/native';
import { noGrad } from '../autograd';
import { ELEMENTS } from '../dtype';
import { type LinearLayer, SelfGuided } from '../nn';
import { checkMergeable } from '../ops/inner_activation';
import { keep, tidy } from '../scope';
import { type WeightDType, WeightMatrix } from './matrix';

export type Form = 'factored' | 'merged';

/** What decode_step takes: {K, q, p, L, s, r, inner activation} and [v, its scales, u, its scales, bias]. */
export interface LayerOperands {
  readonly dims: Int32Array;
  readonly views: readonly (Handle | null)[];
}

export class DecoderLayer {
  readonly #layer: LinearLayer;
  readonly #v: WeightMatrix | null;
  readonly #u: WeightMatrix;
  readonly #bias: WeightMatrix | null;
  #merged: WeightMatrix | null = null;

  constructor(
    layer: LinearLayer | SelfGuided,
    readonly dtype: WeightDType,
  ) {
    // A layer that still has its guide is computed as the dense matrix that evaluation applies.
    const guided = layer instanceof SelfGuided && layer.guide !== null;
    this.#layer = layer instanceof SelfGuided ? layer.layer : layer;
    if (guided) checkMergeable('decoder: a layer with a guide', this.#layer.innerActivation);
    this.#v = guided || this.#layer.v === null ? null : new WeightMatrix(this.#layer.v, dtype);
    this.#u = guided
      ? new WeightMatrix(
          tidy(() => keep(layer.merge())),
          dtype,
          true,
        )
      : new WeightMatrix(this.#layer.u, dtype);
    this.#bias = this.#layer.bias && new WeightMatrix(this.#layer.bias, 'float32');
  }

  get structured(): boolean {
    return this.#v !== null;
  }

  /** Whether the layer can be merged: with an activation between them, factors stay factors. */
  get mergeable(): boolean {
    return this.structured && this.#layer.innerActivation === 'none';
  }

  /** Sizes of the layer as computed: those of a dense one for a layer with a guide. */
  get factoredDims(): Int32Array {
    return this.structured ? this.#layer.dims.sizes : this.#denseDims();
  }

  get bytes(): number {
    return (this.#v?.bytes ?? 0) + this.#u.bytes + (this.#merged?.bytes ?? 0);
  }

  get hasMerged(): boolean {
    return this.#merged !== null;
  }

  get mergedBytes(): number {
    const { inFeatures, outFeatures } = this.#layer;
    return inFeatures * outFeatures * ELEMENTS[this.dtype].bytes + (this.dtype === 'int8' ? outFeatures * 4 : 0);
  }

  operands(form: Form): LayerOperands {
    const bias = this.#bias?.handle ?? null;
    if (form === 'factored' || !this.structured)
      return {
        dims: this.factoredDims,
        views: [this.#v?.handle ?? null, this.#v?.scales ?? null, this.#u.handle, this.#u.scales, bias],
      };
    this.#merged ??= new WeightMatrix(
      noGrad(() => tidy(() => keep(this.#layer.merge()))),
      this.dtype,
      true,
    );
    return { dims: this.#denseDims(), views: [null, null, this.#merged.handle, this.#merged.scales, bias] };
  }

  dispose(): void {
    this.#v?.dispose();
    this.#u.dispose();
    this.#bias?.dispose();
    this.#merged?.dispose();
  }

  #denseDims(): Int32Array {
    const { inFeatures, outFeatures } = this.#layer;
    return Int32Array.of(1, inFeatures, inFeatures, 1, outFeatures, inFeatures, 0);
  }
}
