/** A whole model for decode_step: its weights in the wanted type, in the order of native/kernels.def. */
import type { Handle, NativeModel } from '../../types/native';
import type { Device } from '../device';
import { OptionError, runNative } from '../errors';
import { native } from '../native';
import type {
  LayerNorm,
  LinearLayer,
  ResolvedConfig,
  RMSNorm,
  SelfGuided,
  TransformerBlock,
  TransformerLM,
} from '../nn';
import { PAGE_TOKENS } from './cache';
import { DecoderLayer, type Form, type LayerOperands } from './layer';
import { type ActivationDType, checkActivations, type WeightDType, type WeightMatrix } from './matrix';
import { ModelWeights, type WeightSource } from './weights';

/** Weights and `shape` of a model that is bound. */
export interface ModelOperands {
  readonly weights: readonly (Handle | null)[];
  readonly shape: Int32Array;
}

interface DecoderBlock {
  readonly norm1: DecoderNorm;
  readonly norm2: DecoderNorm;
  readonly qkv: DecoderLayer;
  readonly out: DecoderLayer;
  readonly fc1: DecoderLayer;
  readonly fc2: DecoderLayer;
  readonly qnorm: DecoderNorm;
  readonly knorm: DecoderNorm;
}

/** Weight and bias of a norm, in float32; none without a norm. */
class DecoderNorm {
  readonly #weight: WeightMatrix | null;
  readonly #bias: WeightMatrix | null;

  constructor(norm: LayerNorm | RMSNorm | null, weights: WeightSource) {
    this.#weight = norm && weights.matrix(norm.weight, 'float32');
    this.#bias = norm && 'bias' in norm && norm.bias ? weights.matrix(norm.bias, 'float32') : null;
  }

  get weight(): Handle | null {
    return this.#weight?.handle ?? null;
  }

  get handles(): (Handle | null)[] {
    return [this.weight, this.#bias?.handle ?? null];
  }

  dispose(): void {
    this.#weight?.dispose();
    this.#bias?.dispose();
  }
}

export class DecoderModel {
  readonly config: ResolvedConfig;
  /** Numbers in the keys and values of one token in all layers. */
  readonly cacheElements: number;
  readonly #embedding: WeightMatrix;
  readonly #positions: WeightMatrix | null;
  readonly #norm: DecoderNorm;
  readonly #head: WeightMatrix | null;
  readonly #blocks: readonly DecoderBlock[];
  readonly #sizes: readonly number[];

  /**
   * @throws {DeviceError} for a model on several devices. @throws {OptionError} for norms of queries and keys on CUDA, and for
   * int8 activations there or without int8 weights.
   */
  constructor(
    model: TransformerLM,
    dtype: WeightDType,
    readonly activations: ActivationDType = 'float32',
    readonly weights: WeightSource = new ModelWeights(model),
  ) {
    checkActivations('decoder: activations', activations, dtype, this.device);
    const { embedding, positions, norm, head, config } = model;
    const { vocabSize, dModel, nLayers, nHeads, nKvHeads, headSize, activation } = config;
    if (config.qkNorm && this.device !== 'cpu')
      throw new OptionError(
        'decoder: qkNorm',
        "false on device 'cuda' (norms of queries and keys are decoded on 'cpu')",
        true,
      );
    this.config = config;
    this.cacheElements = nLayers * nKvHeads * headSize * 2;
    this.#embedding = weights.matrix(embedding.weight, dtype);
    this.#positions = positions && weights.matrix(positions.weight, 'float32');
    this.#norm = new DecoderNorm(norm, weights);
    this.#head = head && weights.matrix(head.weight, dtype);
    this.#blocks = model.blocks.map((block) => decoderBlock(block, dtype, weights));
    const normCode = config.norm === 'rms' ? 1 : 0;
    const sizes = [vocabSize, dModel, nLayers, nHeads, nKvHeads, headSize, normCode];
    this.#sizes = [...sizes, native.activations[activation], PAGE_TOKENS, activations === 'int8' ? 1 : 0];
  }

  get device(): Device {
    return this.weights.device;
  }

  /** All layers of two factors, in order. */
  get structuredLayers(): DecoderLayer[] {
    return this.#blocks.flatMap(({ fc1, fc2 }) => [fc1, fc2]).filter((layer) => layer.structured);
  }

  /** Bytes of the weights: what a step reads. */
  get bytes(): number {
    const layers = this.#blocks.flatMap(({ qkv, out, fc1, fc2 }) => [qkv, out, fc1, fc2]);
    const others = [this.#embedding, this.#positions, this.#head];
    return [...layers, ...others].reduce((total, weights) => total + (weights?.bytes ?? 0), 0);
  }

  operands(form: (layer: DecoderLayer) => Form): ModelOperands {
    const layers = this.#blocks.map(({ norm1, norm2, qnorm, knorm, ...block }) => {
      const [qkv, out, fc1, fc2] = [block.qkv, block.out, block.fc1, block.fc2].map((layer) =>
        layer.operands(layer.mergeable ? form(layer) : 'factored'),
      ) as [LayerOperands, LayerOperands, LayerOperands, LayerOperands];
      return {
        weights: [
          ...norm1.handles,
          ...qkv.views,
          ...out.views,
          ...norm2.handles,
          ...fc1.views,
          ...fc2.views,
          qnorm.weight,
          knorm.weight,
        ],
        dims: [qkv, out, fc1, fc2].flatMap(({ dims }) => [...dims]),
      };
    });
    const head = this.#head ?? this.#embedding;
    return {
      weights: [
        this.#embedding.handle,
        this.#embedding.scales,
        ...this.#norm.handles,
        head.handle,
        head.scales,
        this.#positions?.handle ?? null,
        ...layers.flatMap(({ weights }) => weights),
      ],
      shape: Int32Array.from([...this.#sizes, ...layers.flatMap(({ dims }) => dims)]),
    };
  }

  /** Binds the model for many steps. @throws {DisposedError} when a weight was disposed, as the steps do. */
  bind(form: (layer: DecoderLayer) => Form): NativeModel {
    const { weights, shape } = this.operands(form);
    return runNative(() => native.bindModel(weights, shape, this.config.normEps, this.config.ropeBase));
  }

  /** Frees what does not belong to the model itself. */
  dispose(): void {
    for (const part of [this.#embedding, this.#positions, this.#norm, this.#head]) part?.dispose();
    for (const block of this.#blocks) for (const part of Object.values(block)) part.dispose();
    this.weights[Symbol.dispose]();
  }
}

function decoderBlock(
  { norm1, norm2, attention, ffn }: TransformerBlock,
  dtype: WeightDType,
  weights: WeightSource,
): DecoderBlock {
  const normOf = (norm: LayerNorm | RMSNorm | null) => new DecoderNorm(norm, weights);
  const layerOf = (layer: LinearLayer | SelfGuided) => new DecoderLayer(layer, dtype, weights);
  return {
    norm1: normOf(norm1),
    norm2: normOf(norm2),
    qkv: layerOf(attention.qkv),
    out: layerOf(attention.out),
    fc1: layerOf(ffn.fc1),
    fc2: layerOf(ffn.fc2),
    qnorm: normOf(attention.qnorm),
    knorm: normOf(attention.knorm),
  };
}
