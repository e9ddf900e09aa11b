/** The size of a model, from its config alone: nothing is allocated, so any config may be asked about. */
import { chooseLayer, parametersOf, type Sizes } from '../structures';
import type { FfnStructure } from './feed_forward';
import { resolveConfig, type TransformerConfig } from './transformer_config';

/** Number of trained values of a model. */
export interface ParameterCount {
  /** All parameters of `new TransformerLM(config)`. */
  readonly total: number;
  /** What the guides of self-guided training add. */
  readonly guides: number;
}

/** @throws {OptionError} naming the part of the config that makes no sense. */
export function countParameters(config: TransformerConfig): ParameterCount {
  const resolved = resolveConfig(config);
  const { vocabSize, dModel, dFF, seqLen, nLayers, nHeads, nKvHeads, headSize, attnDim, activation } = resolved;
  const { bias, qkvBias, outBias, qkNorm, norm, ffn, firstFfnDense, tieEmbeddings, learnedPositions } = resolved;
  const biasOf = (has: boolean, features: number) => (has ? features : 0);

  const normSize = dModel + biasOf(norm === 'layer' && bias, dModel);
  const qkv = (nHeads + 2 * nKvHeads) * headSize;
  const attention =
    qkv * dModel + biasOf(qkvBias, qkv) + attnDim * dModel + biasOf(outBias, dModel) + biasOf(qkNorm, 2 * headSize);

  const inner = activation === 'swiglu' ? 2 * dFF : dFF;
  const dense = inner * dModel + dModel * dFF;
  const feedForward = ({ structure, rank, nblocks, ratio, ...ffnSizes }: FfnStructure): number => {
    if (structure === 'dense') return dense;
    const { fc1 = { rank, nblocks, ratio }, fc2 = { rank, nblocks, ratio } } = ffnSizes;
    const layer = (inFeatures: number, outFeatures: number, sizes: Sizes) =>
      parametersOf(chooseLayer('config: ffn', structure, { inFeatures, outFeatures, ...sizes }));
    return layer(dModel, inner, fc1) + layer(dFF, dModel, fc2);
  };
  const structured = nLayers - (firstFfnDense ? 1 : 0);
  const feedForwards =
    (structured > 0 ? structured * feedForward(ffn) : 0) +
    (nLayers - structured) * dense +
    nLayers * biasOf(bias, inner + dModel);

  const embeddings = (tieEmbeddings ? 1 : 2) * vocabSize * dModel + biasOf(learnedPositions, seqLen * dModel);
  return {
    total: embeddings + nLayers * (2 * normSize + attention) + feedForwards + normSize,
    guides: ffn.structure === 'dense' ? 0 : structured * dense,
  };
}
