/**
 * Decoder-only transformer: pre-norm blocks, by default with rotary positions and a tied embedding (Wei et al. 2024,
 * section 4).
 */
import { formatShape, ShapeError } from '../errors';
import { add, linear, linearCrossEntropy, slice } from '../ops';
import { checkTensor } from '../ops/check';
import { checkKeys, type OptionNames } from '../options';
import { Generator } from '../random';
import type { Tensor } from '../tensor';
import { CausalSelfAttention } from './attention';
import { countFlops, type FlopsPerToken } from './cost';
import { Embedding } from './embedding';
import { FeedForward, type FfnStructure } from './feed_forward';
import type { Guidance } from './guidance';
import type { Init } from './init';
import { Linear } from './linear';
import { Module, ModuleList } from './module';
import { LayerNorm, RMSNorm } from './norm';
import {
  FFN_OPTIONS,
  type ResolvedConfig,
  resolveAttention,
  resolveConfig,
  type TransformerConfig,
} from './transformer_config';

/** Options of a transformer beside its config. */
export interface TransformerOptions {
  /** Source of the initial values. Default: a generator of seed 0. */
  readonly generator?: Generator;
  /** Self-guided training of every structured feedforward layer. */
  readonly guidance?: Guidance;
  /**
   * Initialisation of the structured layers, instead of the config's: a cheap one if all values are about to be loaded.
   */
  readonly init?: Init;
}

const TRANSFORMER_OPTIONS: OptionNames<TransformerOptions> = { generator: 0, guidance: 0, init: 0 };

function createNorm({ norm, normEps: eps, bias, dModel }: ResolvedConfig): LayerNorm | RMSNorm {
  return norm === 'rms' ? new RMSNorm(dModel, { eps }) : new LayerNorm(dModel, { eps, bias });
}

/** x += attention(norm1(x)); x += ffn(norm2(x)). */
export class TransformerBlock extends Module {
  /** Norm before attention. */
  readonly norm1: LayerNorm | RMSNorm;
  /** Attention over the tokens so far. */
  readonly attention: CausalSelfAttention;
  /** Norm before the feedforward network. */
  readonly norm2: LayerNorm | RMSNorm;
  /** The feedforward network. */
  readonly ffn: FeedForward;

  constructor(config: TransformerConfig, ffn: FfnStructure, options: TransformerOptions = {}) {
    super();
    checkKeys('TransformerBlock', options, TRANSFORMER_OPTIONS);
    checkKeys('TransformerBlock: ffn', ffn, FFN_OPTIONS);
    const { generator = new Generator(0), guidance, init = ffn.init } = options;
    const resolved = resolveConfig(config);
    const { dModel, dFF, activation, bias } = resolved;
    this.norm1 = this.addModule('norm1', createNorm(resolved));
    this.attention = this.addModule('attention', new CausalSelfAttention({ ...resolveAttention(resolved), generator }));
    this.norm2 = this.addModule('norm2', createNorm(resolved));
    const common = { dModel, dFF, activation, bias, guidance, generator };
    this.ffn = this.addModule('ffn', new FeedForward({ ...common, ...ffn, init }));
  }

  /** x [batch, seq, dModel] → the same shape. */
  forward(x: Tensor): Tensor {
    this.checkAlive('forward');
    const attended = this.attention.forward(this.norm1.forward(x), { residual: x });
    return this.ffn.forward(this.norm2.forward(attended), { residual: attended });
  }
}

/** Parameters of the feedforward networks of a model. */
export interface FfnParameters {
  /** As the layers are, without guides. */
  readonly structured: number;
  /** If all of them were dense. */
  readonly dense: number;
}

const DENSE: FfnStructure = { structure: 'dense' };

/** Language model. docs/checkpoint.md lists the names and shapes of its parameters. */
export class TransformerLM extends Module {
  /** With every default filled in; not the caller's object. */
  readonly config: ResolvedConfig;
  /** Table of tokens [vocabSize, dModel]. */
  readonly embedding: Embedding;
  /** Embeddings of the positions 0 to seqLen − 1; null unless they are learned. */
  readonly positions: Embedding | null;
  /** The blocks, first to last. */
  readonly blocks: readonly TransformerBlock[];
  /** Norm before the output projection. */
  readonly norm: LayerNorm | RMSNorm;
  /** The output projection; null if the embedding is used for it. */
  readonly head: Linear | null;

  /** @throws {OptionError} naming the part of the config that makes no sense. */
  constructor(config: TransformerConfig, options: TransformerOptions = {}) {
    super();
    checkKeys('TransformerLM', options, TRANSFORMER_OPTIONS);
    const resolved = resolveConfig(config);
    const generator = options.generator ?? new Generator(0);
    const { vocabSize, dModel, seqLen, nLayers, ffn, firstFfnDense } = resolved;
    this.config = resolved;
    const embedding = (name: string, rows: number) => this.addModule(name, new Embedding(rows, dModel, generator));
    this.embedding = embedding('embedding', vocabSize);
    this.positions = resolved.learnedPositions ? embedding('positions', seqLen) : null;
    const block = (i: number) =>
      new TransformerBlock(resolved, i === 0 && firstFfnDense ? DENSE : ffn, { ...options, generator });
    this.blocks = Array.from({ length: nLayers }, (_, i) => block(i));
    this.addModule('blocks', new ModuleList(this.blocks));
    this.norm = this.addModule('norm', createNorm(resolved));
    this.head = resolved.tieEmbeddings
      ? null
      : this.addModule('head', new Linear({ inFeatures: dModel, outFeatures: vocabSize, bias: false, generator }));
  }

  /** Final hidden states; ids [batch, seq] int32 → [batch, seq, dModel]. */
  hidden(ids: Tensor): Tensor {
    this.checkAlive('hidden');
    checkTensor('TransformerLM: ids', ids, 'int32');
    if (ids.rank !== 2 || ids.shape[1]! > this.config.seqLen || ids.size === 0)
      throw new ShapeError(
        'TransformerLM: ids',
        `[batch, seq] with 1 <= seq <= ${this.config.seqLen}`,
        formatShape(ids.shape),
      );
    const tokens = this.embedding.forward(ids);
    const { positions } = this;
    const embedded = positions ? add(tokens, slice(positions.weight, 0, 0, ids.shape[1]!)) : tokens;
    return this.norm.forward(this.blocks.reduce((x, block) => block.forward(x), embedded));
  }

  /** The output projection [vocabSize, dModel]: the head's, or the tied embedding. */
  get headWeight(): Tensor {
    return (this.head ?? this.embedding).weight;
  }

  /** Logits; ids [batch, seq] int32 → [batch, seq, vocabSize]. */
  forward(ids: Tensor): Tensor {
    this.checkAlive('forward');
    return linear(this.hidden(ids), this.headWeight);
  }

  /** Mean cross-entropy in nats per token, without the logits in memory; ids and targets [batch, seq] int32 → []. */
  loss(ids: Tensor, targets: Tensor, options: { ignoreIndex?: number } = {}): Tensor {
    this.checkAlive('loss');
    return linearCrossEntropy(this.hidden(ids), this.headWeight, targets, options);
  }

  /** At a context of `seqLen` tokens (default: the longest). */
  flopsPerToken(seqLen = this.config.seqLen): FlopsPerToken {
    this.checkAlive('flopsPerToken');
    return countFlops(this.config, seqLen);
  }

  /** Parameters of the feedforward networks without guides, and of dense ones in their place. */
  ffnParameters(): FfnParameters {
    this.checkAlive('ffnParameters');
    const layers = this.blocks.flatMap((block) => block.ffn.layers);
    return {
      structured: layers.reduce((total, layer) => total + layer.numParameters(), 0),
      dense: layers.reduce((total, l) => total + l.inFeatures * l.outFeatures + (l.bias?.size ?? 0), 0),
    };
  }
}
