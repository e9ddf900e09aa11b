/** Decoders straight from checkpoints. */
import { checkDevice, type Device, deviceName } from '../device';
import { checkPath } from '../errors';
import { type OpenCheckpoint, withCheckpoint } from '../io/checkpoint';
import type { LinearLayer, SelfGuided, TransformerLM } from '../nn';
import { mergeFactors } from '../ops';
import { checkKeys } from '../options';
import { keep, tidy } from '../scope';
import { empty, type Tensor } from '../tensor';
import { hasGuides, modelOf, readModel } from '../train/load_model';
import { checkDecoderOptions, DECODER_OPTIONS, Decoder, type DecoderOptions } from './decoder';
import { plain } from './layer';
import { type WeightDType, WeightMatrix } from './matrix';
import { readWeights } from './read_weights';
import { ModelWeights, type WeightSource } from './weights';

/** Options of `loadDecoder`. */
export interface LoadDecoderOptions extends Omit<DecoderOptions, 'dtype'> {
  /** The type of the weights. Default: that of the checkpoint, whose bytes are then used as they are. */
  readonly dtype?: WeightDType;
  /** Where to decode. Default: cpu. */
  readonly device?: Device;
}

/** A decoder with what its checkpoint says beside it. */
export interface LoadedDecoder {
  /** Owns all its weights; its `dtype` is theirs. */
  readonly decoder: Decoder;
  /** Path of the tokenizer.json; undefined for bytes. */
  readonly tokenizerFile: string | undefined;
}

/** Matrices that a decoder has asked for, filled from a file afterwards. */
class FileWeights implements WeightSource {
  readonly #matrices = new Map<Tensor, WeightMatrix>();

  constructor(readonly device: Device) {}

  matrix(parameter: Tensor, dtype: WeightDType): WeightMatrix {
    const matrix = WeightMatrix.empty(parameter.shape, dtype, this.device);
    this.#matrices.set(parameter, matrix);
    return matrix;
  }

  /** The matrices by the names of the model's parameters. */
  named(model: TransformerLM): Map<string, WeightMatrix> {
    return new Map([...model.namedParameters()].map(([name, parameter]) => [name, this.#matrices.get(parameter)!]));
  }

  merged(layer: LinearLayer | SelfGuided): Tensor {
    const { v, u } = plain(layer);
    return tidy(() => keep(mergeFactors(this.#exact(v!), this.#exact(u))));
  }

  /** In float32, in new memory. */
  #exact(parameter: Tensor): Tensor {
    const values = empty(parameter.shape, 'float32', this.device);
    WeightMatrix.of(values).copyFrom(this.#matrices.get(parameter)!);
    return values;
  }

  [Symbol.dispose](): void {
    for (const matrix of this.#matrices.values()) matrix.dispose();
    this.#matrices.clear();
  }
}

function decoderOf(path: string, checkpoint: OpenCheckpoint, options: LoadDecoderOptions): Decoder {
  const { device = 'cpu', ...rest } = options;
  const { dtype = checkpoint.dtype, dispatch = 'factored' } = rest;
  const own: DecoderOptions = { ...rest, dtype };
  // Guides are mixed with the factors, and factors merged, before anything is rounded: that takes the whole values.
  if (hasGuides(checkpoint) || (dispatch !== 'factored' && dtype !== checkpoint.dtype)) {
    const model = readModel(path, checkpoint);
    try {
      model.to(device);
      return new Decoder(model, own, new ModelWeights(model, true));
    } catch (error) {
      model.dispose();
      throw error;
    }
  }
  const model = modelOf(path, checkpoint);
  const weights = new FileWeights(deviceName(device));
  try {
    const decoder = new Decoder(model, own, weights);
    readWeights(checkpoint, weights.named(model));
    return decoder;
  } catch (error) {
    weights[Symbol.dispose]();
    throw error;
  } finally {
    // From here on only its names and sizes are used.
    model.dispose();
  }
}

/**
 * A decoder from a checkpoint folder, or from a `.safetensors` file with a `config.json` next to it. Weights are read
 * into the decoder's memory in the type of the file. In another type, they are converted one by one.
 *
 * @example
 * const { decoder, tokenizerFile } = loadDecoder('runs/latest/checkpoint');
 * const tokenizer = tokenizerFile === undefined ? new ByteTokenizer() : loadTokenizer(tokenizerFile);
 * for await (const piece of generateText(decoder, tokenizer, 'Once')) process.stdout.write(piece);
 * decoder.dispose();
 *
 * @throws {FileError} when it does not exist. @throws {FormatError} for a file that is damaged, and for a tensor with a
 * value that is not finite. @throws {StateDictError | ShapeError | DTypeError} for tensors that are not those of the
 * config. @throws {OptionError | DeviceError | OutOfMemoryError}
 */
export function loadDecoder(path: string, options: LoadDecoderOptions = {}): LoadedDecoder {
  checkPath('loadDecoder: path', path);
  checkKeys('loadDecoder', options, { ...DECODER_OPTIONS, device: 0 });
  checkDecoderOptions(options);
  if (options.device !== undefined) checkDevice('loadDecoder: device', options.device);
  return withCheckpoint(path, (checkpoint) => ({
    decoder: decoderOf(path, checkpoint, options),
    tokenizerFile: checkpoint.tokenizerFile,
  }));
}
