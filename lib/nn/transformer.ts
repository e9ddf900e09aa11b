/** Decoder-only transformer: pre-norm blocks, rotary positions, tied embedding (Wei et al. 2024, section 4). */
import { formatShape, ShapeError } from '../errors';
import { linear, linearCrossEntropy } from '../ops';
import { checkTensor } from '../ops/check';
import { Generator } from '../random';
import type { Tensor } from '../tensor';
import { CausalSelfAttention } from './attention';
import { Embedding } from './embedding';
import { FeedForward, type FfnStructure } from './feed_forward';
import type { Guidance } from './guidance';
import type { Init } from './init';
import { Module, ModuleList } from './module';
import { LayerNorm, RMSNorm } from './norm';
import { checkTransformerConfig, type TransformerConfig } from './transformer_config';

export interface TransformerOptions {
  /** Source of the initial values. Default: a generator of seed 0. */
  readonly generator?: Generator;
  /** Self-guided training of every structured feedforward layer. */
  readonly guidance?: Guidance;
  /** For the structured layers, instead of the config's: a cheap one where all values are about to be loaded. */
  readonly init?: Init;
}

function createNorm({ norm = 'layer', bias, dModel }: TransformerConfig): LayerNorm | RMSNorm {
  return norm === 'rms' ? new RMSNorm(dModel) : new LayerNorm(dModel, { bias });
}

/** x += attention(norm1(x)); x += ffn(norm2(x)). */
export class TransformerBlock extends Module {
  readonly norm1: LayerNorm | RMSNorm;
  readonly attention: CausalSelfAttention;
  readonly norm2: LayerNorm | RMSNorm;
  readonly ffn: FeedForward;

  constructor(config: TransformerConfig, ffn: FfnStructure, options: TransformerOptions = {}) {
    super();
    const { generator = new Generator(0), guidance, init = ffn.init } = options;
    const { dModel, dFF, activation, bias } = config;
    this.norm1 = this.addModule('norm1', createNorm(config));
    this.attention = this.addModule('attention', new CausalSelfAttention({ ...config, generator }));
    this.norm2 = this.addModule('norm2', createNorm(config));
    const common = { dModel, dFF, activation, bias, guidance, generator };
    this.ffn = this.addModule('ffn', new FeedForward({ ...common, ...ffn, init }));
  }

  /** x [batch, seq, dModel] → the same shape. */
  forward(x: Tensor): Tensor {
    const attended = this.attention.forward(this.norm1.forward(x), { residual: x });
    return this.ffn.forward(this.norm2.forward(attended), { residual: attended });
  }
}

/** Floating-point operations per token, forward, by where they are spent. */
export interface FlopsPerToken {
  readonly ffn: number;
  readonly attention: number;
  readonly head: number;
  readonly total: number;
  /** The total of the same model with dense feedforward networks. */
  readonly dense: number;
}

const DENSE: FfnStructure = { structure: 'dense' };

/** Language model. docs/checkpoint.md lists the names and shapes of its parameters. */
export class TransformerLM extends Module {
  readonly config: TransformerConfig;
  readonly embedding: Embedding;
  readonly blocks: readonly TransformerBlock[];
  readonly norm: LayerNorm | RMSNorm;

  /** @throws {OptionError} naming the part of the config that makes no sense. */
  constructor(config: TransformerConfig, options: TransformerOptions = {}) {
    super();
    checkTransformerConfig(config);
    const generator = options.generator ?? new Generator(0);
    const { ffn = DENSE, firstFfnDense = true } = config;
    this.config = config;
    this.embedding = this.addModule('embedding', new Embedding(config.vocabSize, config.dModel, generator));
    const block = (i: number) =>
      new TransformerBlock(config, i === 0 && firstFfnDense ? DENSE : ffn, { ...options, generator });
    this.blocks = Array.from({ length: config.nLayers }, (_, i) => block(i));
    this.addModule('blocks', new ModuleList(this.blocks));
    this.norm = this.addModule('norm', createNorm(config));
  }

  /** Final hidden states; ids [batch, seq] int32 → [batch, seq, dModel]. */
  hidden(ids: Tensor): Tensor {
    checkTensor('TransformerLM: ids', ids, 'int32');
    if (ids.rank !== 2 || ids.shape[1]! > this.config.seqLen || ids.size === 0)
      throw new ShapeError(
        'TransformerLM: ids',
        `[batch, seq] with 1 <= seq <= ${this.config.seqLen}`,
        formatShape(ids.shape),
      );
    const embedded = this.embedding.forward(ids);
    return this.norm.forward(this.blocks.reduce((x, block) => block.forward(x), embedded));
  }

  /** Logits by the tied embedding; ids [batch, seq] int32 → [batch, seq, vocabSize]. */
  forward(ids: Tensor): Tensor {
    return linear(this.hidden(ids), this.embedding.weight);
  }

  /** Mean cross-entropy in nats per token, without the logits in memory; ids and targets [batch, seq] int32 → []. */
  loss(ids: Tensor, targets: Tensor, options: { ignoreIndex?: number } = {}): Tensor {
    return linearCrossEntropy(this.hidden(ids), this.embedding.weight, targets, options);
  }

  /** At a context of `seqLen` (default: the longest). */
  flopsPerToken(seqLen = this.config.seqLen): FlopsPerToken {
    const sum = (value: (block: TransformerBlock) => number) =>
      this.blocks.reduce((total, block) => total + value(block), 0);
    const ffn = sum((block) => block.ffn.flopsPerToken);
    const attention = sum((block) => block.attention.flopsPerToken(seqLen));
    const head = 2 * this.config.vocabSize * this.config.dModel;
    const dense = attention + head + sum((block) => block.ffn.denseFlopsPerToken);
    return { ffn, attention, head, total: ffn + attention + head, dense };
  }

  /** Parameters of the feedforward networks without guides, and of dense ones in their place. */
  ffnParameters(): { structured: number; dense: number } {
    const layers = this.blocks.flatMap((block) => block.ffn.layers);
    return {
      structured: layers.reduce((total, layer) => total + layer.numParameters(), 0),
      dense: layers.reduce((total, l) => total + l.inFeatures * l.outFeatures + (l.bias?.size ?? 0), 0),
    };
  }
}
