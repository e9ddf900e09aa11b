/** Where a decoder's matrices come from: a model, or a file. */
import { noGrad } from '../autograd';
import type { Device } from '../device';
import { DeviceError } from '../errors';
import type { LinearLayer, SelfGuided, TransformerLM } from '../nn';
import { keep, tidy } from '../scope';
import type { Tensor } from '../tensor';
import { type WeightDType, WeightMatrix } from './matrix';

/** What a decoder asks for, part by part, as it is made from a model. */
export interface WeightSource extends Disposable {
  /** Of all matrices. */
  readonly device: Device;
  /** The matrix of a parameter in an element type. */
  matrix(parameter: Tensor, dtype: WeightDType): WeightMatrix;
  /** The dense matrix [out, in] of a layer with all that it applies, in new memory that the caller owns. */
  merged(layer: LinearLayer | SelfGuided): Tensor;
}

/** A model in memory: its own weights where they have the type, else copies. */
export class ModelWeights implements WeightSource {
  readonly device: Device;

  /** @param owned whether the model goes with the decoder. @throws {DeviceError} for a model on several devices. */
  constructor(
    readonly model: TransformerLM,
    readonly owned = false,
  ) {
    this.device = model.embedding.weight.device;
    for (const [name, { device }] of model.namedParameters())
      if (device !== this.device)
        throw new DeviceError(`decoder: the model has ${name} on '${device}' and the embedding on '${this.device}'`);
  }

  matrix(parameter: Tensor, dtype: WeightDType): WeightMatrix {
    return WeightMatrix.of(parameter).as(dtype);
  }

  merged(layer: LinearLayer | SelfGuided): Tensor {
    return noGrad(() => tidy(() => keep(layer.merge())));
  }

  [Symbol.dispose](): void {
    if (this.owned) this.model.dispose();
  }
}
