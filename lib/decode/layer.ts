/** A linear layer of the decoder: its factors, and their product where that was found faster. */
import type { Handle } from '../../types/native';
import { ELEMENTS } from '../dtype';
import { type LinearLayer, SelfGuided } from '../nn';
import { checkMergeable } from '../ops/inner_activation';
import { type WeightDType, WeightMatrix } from './matrix';
import type { WeightSource } from './weights';

export type Form = 'factored' | 'merged';

/** What decode_step takes: {K, q, p, L, s, r, inner activation} and [v, its scales, u, its scales, bias]. */
export interface LayerOperands {
  readonly dims: Int32Array;
  readonly views: readonly (Handle | null)[];
}

/** Whether a layer is factors that have a product: with an activation between them, factors stay factors. */
export const isMergeable = (layer: LinearLayer | SelfGuided): boolean =>
  isStructured(layer) && plain(layer).innerActivation === 'none';

/** A layer that still has its guide is computed as the dense matrix that evaluation applies. */
const isGuided = (layer: LinearLayer | SelfGuided): boolean => layer instanceof SelfGuided && layer.guide !== null;
const isStructured = (layer: LinearLayer | SelfGuided): boolean => !isGuided(layer) && plain(layer).v !== null;
/** The layer without its guide. */
export const plain = (layer: LinearLayer | SelfGuided): LinearLayer =>
  layer instanceof SelfGuided ? layer.layer : layer;

export class DecoderLayer {
  readonly #layer: LinearLayer;
  readonly #v: WeightMatrix | null;
  readonly #u: WeightMatrix;
  readonly #bias: WeightMatrix | null;
  readonly mergeable: boolean;
  #merged: WeightMatrix | null = null;

  constructor(
    layer: LinearLayer | SelfGuided,
    readonly dtype: WeightDType,
    readonly weights: WeightSource,
  ) {
    this.#layer = plain(layer);
    this.mergeable = isMergeable(layer);
    const { v, u, bias, innerActivation } = this.#layer;
    if (isGuided(layer)) checkMergeable('decoder: a layer with a guide', innerActivation);
    this.#v = isGuided(layer) || v === null ? null : weights.matrix(v, dtype);
    this.#u = isGuided(layer) ? WeightMatrix.of(weights.merged(layer), true).as(dtype) : weights.matrix(u, dtype);
    this.#bias = bias && weights.matrix(bias, 'float32');
  }

  get structured(): boolean {
    return this.#v !== null;
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
    this.#merged ??= WeightMatrix.of(this.weights.merged(this.#layer), true).as(this.dtype);
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
