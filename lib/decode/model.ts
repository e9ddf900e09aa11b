/** The operands of decode_step for a whole model: its weights in the wanted type, in the order of native/kernels.def. */
import type { Handle } from '../../types/native';
import type { Device } from '../device';
import { DeviceError } from '../errors';
import type { LayerNorm, RMSNorm, TransformerBlock, TransformerLM } from '../nn';
import { ACTIVATION_CODES } from '../ops/activation';
import { PAGE_TOKENS } from './cache';
import { DecoderLayer, type Form, type LayerOperands } from './layer';
import { type WeightDType, WeightMatrix } from './matrix';

/** Weights and `shape` of one call. */
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
}

/** Weight and bias of a norm, in float32. */
class DecoderNorm {
  readonly #weight: WeightMatrix;
  readonly #bias: WeightMatrix | null;

  constructor(norm: LayerNorm | RMSNorm) {
    this.#weight = new WeightMatrix(norm.weight, 'float32');
    this.#bias = 'bias' in norm && norm.bias ? new WeightMatrix(norm.bias, 'float32') : null;
  }

  get handles(): (Handle | null)[] {
    return [this.#weight.handle, this.#bias?.handle ?? null];
  }

  dispose(): void {
    this.#weight.dispose();
    this.#bias?.dispose();
  }
}

export class DecoderModel {
  readonly config: TransformerLM['config'];
  readonly device: Device;
  readonly eps: number;
  readonly ropeBase: number;
  /** Keys and values of one token in all layers, in floats. */
  readonly cacheFloats: number;
  readonly #embedding: WeightMatrix;
  readonly #norm: DecoderNorm;
  readonly #blocks: readonly DecoderBlock[];
  readonly #sizes: readonly number[];

  /** @throws {DeviceError} for a model on several devices. */
  constructor(model: TransformerLM, dtype: WeightDType) {
    const { embedding, norm, config } = model;
    this.device = embedding.weight.device;
    for (const [name, { device }] of model.namedParameters())
      if (device !== this.device)
        throw new DeviceError(`decoder: the model has ${name} on '${device}' and the embedding on '${this.device}'`);
    const { nHeads, nKvHeads = nHeads, attnDim = config.dModel, activation = 'gelu' } = config;
    const headSize = attnDim / nHeads;
    this.config = config;
    this.eps = norm.eps;
    this.ropeBase = config.ropeBase ?? 10000;
    this.cacheFloats = config.nLayers * nKvHeads * headSize * 2;
    this.#embedding = new WeightMatrix(embedding.weight, dtype);
    this.#norm = new DecoderNorm(norm);
    this.#blocks = model.blocks.map((block) => decoderBlock(block, dtype));
    const normCode = config.norm === 'rms' ? 1 : 0;
    this.#sizes = [config.vocabSize, config.dModel, config.nLayers, nHeads, nKvHeads, headSize, normCode].concat(
      ACTIVATION_CODES[activation],
      PAGE_TOKENS,
    );
  }

  /** All layers with a choice of form, in order. */
  get structuredLayers(): DecoderLayer[] {
    return this.#blocks.flatMap(({ fc1, fc2 }) => [fc1, fc2]).filter((layer) => layer.structured);
  }

  /** Bytes of the weights: what a step reads. */
  get bytes(): number {
    const layers = this.#blocks.flatMap(({ qkv, out, fc1, fc2 }) => [qkv, out, fc1, fc2]);
    return layers.reduce((total, layer) => total + layer.bytes, this.#embedding.bytes);
  }

  operands(form: (layer: DecoderLayer) => Form): ModelOperands {
    const layers = this.#blocks.map(({ norm1, norm2, ...block }) => {
      const [qkv, out, fc1, fc2] = [block.qkv, block.out, block.fc1, block.fc2].map((layer) =>
        layer.operands(layer.structured ? form(layer) : 'factored'),
      ) as [LayerOperands, LayerOperands, LayerOperands, LayerOperands];
      return {
        weights: [...norm1.handles, ...qkv.views, ...out.views, ...norm2.handles, ...fc1.views, ...fc2.views],
        dims: [qkv, out, fc1, fc2].flatMap(({ dims }) => [...dims]),
      };
    });
    return {
      weights: [
        this.#embedding.handle,
        this.#embedding.scales,
        ...this.#norm.handles,
        ...layers.flatMap(({ weights }) => weights),
      ],
      shape: Int32Array.from([...this.#sizes, ...layers.flatMap(({ dims }) => dims)]),
    };
  }

  /** Frees what is not the model's own. */
  dispose(): void {
    this.#embedding.dispose();
    this.#norm.dispose();
    for (const block of this.#blocks) for (const part of Object.values(block)) part.dispose();
  }
}

function decoderBlock({ norm1, norm2, attention, ffn }: TransformerBlock, dtype: WeightDType): DecoderBlock {
  return {
    norm1: new DecoderNorm(norm1),
    norm2: new DecoderNorm(norm2),
    qkv: new DecoderLayer(attention.qkv, dtype),
    out: new DecoderLayer(attention.out, dtype),
    fc1: new DecoderLayer(ffn.fc1, dtype),
    fc2: new DecoderLayer(ffn.fc2, dtype),
  };
}
