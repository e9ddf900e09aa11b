/** The size and the cost of a model, from its config alone: nothing is allocated, so any config may be asked about. */
import { checkInteger } from '../errors';
import type { Shape } from '../sizes';
import { chooseLayer, type Sizes } from '../structures';
import type { FfnStructure } from './feed_forward';
import { type ResolvedConfig, resolveConfig, type TransformerConfig } from './transformer_config';

/** Number of trained values of a model. */
export interface ParameterCount {
  /** All parameters of `new TransformerLM(config)`. */
  readonly total: number;
  /** What the guides of self-guided training add. */
  readonly guides: number;
}

/** Floating-point operations per token, forward, by where they are spent. */
export interface FlopsPerToken {
  /** Feedforward networks. */
  readonly ffn: number;
  /** Attention with its projections. */
  readonly attention: number;
  /** Projection to the vocabulary. */
  readonly head: number;
  /** All of them. */
  readonly total: number;
  /** The total of the same model with dense feedforward networks. */
  readonly dense: number;
  /** What a pass with the guides of self-guided training adds. */
  readonly guides: number;
}

const biasOf = (has: boolean, features: number): number => (has ? features : 0);

/** Weight matrices of one size. Each value is one multiply-accumulate per token, in a factor as well. */
export interface Matrices {
  readonly rows: number;
  readonly columns: number;
  readonly count: number;
}

const sizeOf = (matrices: readonly Matrices[]): number =>
  matrices.reduce((total, { rows, columns, count }) => total + rows * columns * count, 0);

const blocksOf = (shape: Shape): Matrices => {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return { rows, columns, count: shape.length === 3 ? shape[0]! : 1 };
};

/** The matrices of a model, without its embeddings. */
export function matricesOf({ dModel, dFF, nHeads, nKvHeads, headSize, attnDim, nLayers, ...config }: ResolvedConfig) {
  const { activation, ffn, firstFfnDense } = config;
  const inner = activation === 'swiglu' ? 2 * dFF : dFF;
  const qkv = (nHeads + 2 * nKvHeads) * headSize;
  const times = (count: number, matrices: readonly Matrices[]): readonly Matrices[] =>
    matrices.map((one) => ({ ...one, count: one.count * count }));
  const dense = [blocksOf([inner, dModel]), blocksOf([dModel, dFF])];
  const factors = ({ structure, rank, nblocks, ratio, ...ffnSizes }: FfnStructure): readonly Matrices[] => {
    if (structure === 'dense') return dense;
    const { fc1 = { rank, nblocks, ratio }, fc2 = { rank, nblocks, ratio } } = ffnSizes;
    const layer = (inFeatures: number, outFeatures: number, sizes: Sizes): readonly Matrices[] => {
      const { v, u } = chooseLayer('config: ffn', structure, { inFeatures, outFeatures, ...sizes });
      return [...(v === null ? [] : [blocksOf(v)]), blocksOf(u)];
    };
    return [...layer(dModel, inner, fc1), ...layer(dFF, dModel, fc2)];
  };
  const structured = nLayers - (firstFfnDense ? 1 : 0);
  return {
    inner,
    qkv,
    attention: times(nLayers, [blocksOf([qkv, dModel]), blocksOf([dModel, attnDim])]),
    ffn: [...(structured > 0 ? times(structured, factors(ffn)) : []), ...times(nLayers - structured, dense)],
    dense: times(nLayers, dense),
    guides: ffn.structure === 'dense' ? [] : times(structured, dense),
  };
}

/** @throws {OptionError} naming the part of the config that makes no sense. */
export function countParameters(config: TransformerConfig): ParameterCount {
  const resolved = resolveConfig(config);
  const { vocabSize, dModel, seqLen, nLayers, headSize, bias, qkvBias, outBias, qkNorm, norm } = resolved;
  const { inner, qkv, attention, ffn, guides } = matricesOf(resolved);
  const normSize = dModel + biasOf(norm === 'layer' && bias, dModel);
  const small =
    2 * normSize +
    biasOf(qkvBias, qkv) +
    biasOf(outBias, dModel) +
    biasOf(qkNorm, 2 * headSize) +
    biasOf(bias, inner + dModel);
  const embeddings =
    (resolved.tieEmbeddings ? 1 : 2) * vocabSize * dModel + biasOf(resolved.learnedPositions, seqLen * dModel);
  return {
    total: embeddings + sizeOf(attention) + sizeOf(ffn) + nLayers * small + normSize,
    guides: sizeOf(guides),
  };
}

/**
 * 2 operations for each multiply-accumulate of matrix products; causality halves those of attention scores.
 * @param seqLen length of the rows. Default: the config's. @throws {OptionError} as countParameters.
 */
export function countFlops(config: TransformerConfig, seqLen?: number): FlopsPerToken {
  const resolved = resolveConfig(config);
  const { vocabSize, dModel, nLayers, attnDim, seqLen: longest } = resolved;
  const length = seqLen ?? longest;
  checkInteger('countFlops: seqLen', length, 0);
  const matrices = matricesOf(resolved);
  const ffn = 2 * sizeOf(matrices.ffn);
  const attention = 2 * sizeOf(matrices.attention) + 2 * nLayers * length * attnDim;
  const head = 2 * vocabSize * dModel;
  const rest = attention + head;
  return {
    ffn,
    attention,
    head,
    total: ffn + rest,
    dense: 2 * sizeOf(matrices.dense) + rest,
    guides: 2 * sizeOf(matrices.guides),
  };
}
