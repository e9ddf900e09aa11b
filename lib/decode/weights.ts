/** Where a decoder's matrices come from: a model, or a file. */
import { noGrad } from '../autograd';
import type { Device } from '../device';
import { DeviceError } from '../errors';
import { checkFinite } from '../io/finite';
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
  readonly #names = new Map<Tensor, string>();

  /** @param owned whether the model goes with the decoder. @throws {DeviceError} for a model on several devices. */
  constructor(
    readonly model: TransformerLM,
    readonly owned = false,
  ) {
    this.device = model.embedding.weight.device;
    for (const [name, parameter] of model.namedParameters()) {
      if (parameter.device !== this.device)
        throw new DeviceError(
          `decoder: the model has ${name} on '${parameter.device}' and the embedding on '${this.device}'`,
        );
      this.#names.set(parameter, name);
    }
  }

  /** @throws {FormatError} naming a weight to be converted that is not finite: as int8 it would be any number. */
  matrix(parameter: Tensor, dtype: WeightDType): WeightMatrix {
    if (dtype !== parameter.dtype) checkFinite('decoder', this.#names.get(parameter) ?? '', parameter.host());
    return WeightMatrix.of(parameter).as(dtype);
  }

  merged(layer: LinearLayer | SelfGuided): Tensor {
    const [first] = layer.parameters();
    return noGrad(() =>
      tidy(() => {
        const matrix = layer.merge();
        checkFinite('decoder', `${first && this.#names.get(first)}, merged,`, matrix.host());
        return keep(matrix);
      }),
    );
  }

  [Symbol.dispose](): void {
    if (this.owned) this.model.dispose();
  }
}
