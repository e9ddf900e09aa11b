/**
 * The architectures of Hugging Face's transformers that our models correspond to: which one a model is, its
 * config.json, and the names of a block's weights. All have pre-norm blocks, rotary positions that rotate halves, and a
 * tied embedding if wanted.
 */
import { OptionError } from '../errors';
import type { ResolvedConfig, TransformerLM } from '../nn';
import type { Activation } from '../ops';
import { checkMergeable } from '../ops/inner_activation';

export interface Architecture {
  /** What config.json says beyond the sizes. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Names of the feedforward layers below `mlp`; a gated network has its first layer in two parts. */
  readonly mlp: { readonly fc1: readonly string[]; readonly fc2: string };
}

const GATED = { fc1: ['gate_proj', 'up_proj'], fc2: 'down_proj' };

/** Their names for our activations; their gelu_pytorch_tanh is our gelu. */
const ACTIVATION_NAMES: Readonly<Record<Exclude<Activation, 'swiglu'>, string>> = {
  gelu: 'gelu_pytorch_tanh',
  silu: 'silu',
  relu: 'relu',
  none: 'linear',
};

function llama({ bias, qkvBias, outBias, normEps }: ResolvedConfig): Architecture {
  if (qkvBias !== outBias) throw new OptionError('export: outBias', `qkvBias (${qkvBias}), as Llama has it`, outBias);
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_act: 'silu',
    rms_norm_eps: normEps,
    attention_bias: qkvBias,
    mlp_bias: bias,
  };
  return { config, mlp: GATED };
}

function starcoder2(
  activation: Exclude<Activation, 'swiglu'>,
  { bias, qkvBias, outBias, normEps }: ResolvedConfig,
): Architecture {
  for (const [name, value] of Object.entries({ qkvBias, outBias }))
    if (value !== bias) throw new OptionError(`export: ${name}`, `bias (${bias}), as StarCoder2 has it`, value);
  const config = {
    architectures: ['Starcoder2ForCausalLM'],
    model_type: 'starcoder2',
    hidden_act: ACTIVATION_NAMES[activation],
    norm_epsilon: normEps,
    use_bias: bias,
    sliding_window: null,
    embedding_dropout: 0,
    residual_dropout: 0,
  };
  return { config, mlp: { fc1: ['c_fc'], fc2: 'c_proj' } };
}

function stableLm({ bias, qkvBias, outBias, normEps }: ResolvedConfig): Architecture {
  for (const [name, value] of Object.entries({ bias, outBias }))
    if (value)
      throw new OptionError(
        `export: ${name}`,
        "false with norm 'layer' and activation 'swiglu', as in StableLM",
        value,
      );
  const config = {
    architectures: ['StableLmForCausalLM'],
    model_type: 'stablelm',
    hidden_act: 'silu',
    layer_norm_eps: normEps,
    use_qkv_bias: qkvBias,
    use_parallel_residual: false,
    qk_layernorm: false,
    hidden_dropout: 0,
    partial_rotary_factor: 1,
  };
  return { config, mlp: GATED };
}

function choose(config: ResolvedConfig): Architecture {
  const { norm, activation, dModel, attnDim, ropeBase, learnedPositions, qkNorm, ffn } = config;
  checkMergeable('export: ffn', ffn.innerActivation ?? 'none');
  if (learnedPositions)
    throw new OptionError('export: learnedPositions', 'false, as in every known architecture', learnedPositions);
  if (ropeBase === 0)
    throw new OptionError('export: ropeBase', 'rotary positions, as in every known architecture', ropeBase);
  if (qkNorm) throw new OptionError('export: qkNorm', 'false, as in every known architecture', qkNorm);
  if (norm === 'rms') {
    if (activation === 'swiglu') return llama(config);
    throw new OptionError('export: activation', "swiglu with norm 'rms', as in Llama", activation);
  }
  if (attnDim !== dModel)
    throw new OptionError(
      'export: attnDim',
      `dModel (${dModel}) with norm 'layer', as in StarCoder2 and StableLM`,
      attnDim,
    );
  return activation === 'swiglu' ? stableLm(config) : starcoder2(activation, config);
}

/** What config.json says of every architecture. */
function sizesOf(sizes: ResolvedConfig, endOfText: number | null, partial?: unknown): Record<string, unknown> {
  return {
    vocab_size: sizes.vocabSize,
    hidden_size: sizes.dModel,
    intermediate_size: sizes.dFF,
    num_hidden_layers: sizes.nLayers,
    num_attention_heads: sizes.nHeads,
    num_key_value_heads: sizes.nKvHeads,
    head_dim: sizes.headSize,
    max_position_embeddings: sizes.seqLen,
    // Releases before 5 read the first, later ones the second.
    rope_theta: sizes.ropeBase,
    rope_parameters: {
      rope_type: 'default',
      rope_theta: sizes.ropeBase,
      ...(partial !== undefined && { partial_rotary_factor: partial }),
    },
    attention_dropout: 0,
    tie_word_embeddings: sizes.tieEmbeddings,
    bos_token_id: endOfText,
    eos_token_id: endOfText,
    torch_dtype: 'float32',
  };
}

/** @throws {OptionError} that names the option which no known architecture can express. */
export function architectureOf({ config: sizes }: TransformerLM, endOfText: number | null): Architecture {
  const chosen = choose(sizes);
  const config = { ...chosen.config, ...sizesOf(sizes, endOfText, chosen.config.partial_rotary_factor) };
  return { ...chosen, config };
}

/**
 * config.json beside a graph, which computes what no architecture has to name: readers take the sizes of its cache and the ids
 * of special tokens. A model of no known architecture goes by the type whose cache has the same shape.
 */
export function graphConfig(model: TransformerLM, endOfText: number | null): Readonly<Record<string, unknown>> {
  try {
    return architectureOf(model, endOfText).config;
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    return { model_type: 'llama', ...sizesOf(model.config, endOfText) };
  }
}
