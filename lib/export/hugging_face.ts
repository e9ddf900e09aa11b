/** A model in the layout of Hugging Face's transformers, its weights merged. */
import { join } from 'node:path';
import { noGrad } from '../autograd';
import { checkInstance, checkPath } from '../errors';
import { saveSafetensors, type TensorData } from '../io';
import { writeJson } from '../io/files';
import { checkFinite } from '../io/finite';
import { type LayerNorm, type RMSNorm, type TransformerBlock, TransformerLM } from '../nn';
import { checkKeys } from '../options';
import { tidy } from '../scope';
import { type Architecture, architectureOf } from './architectures';
import { FOLDER_OPTIONS, type FolderOptions, writeFolder } from './folder';
import { exportedTokenizer, writeGenerationConfig, writeTokenizer } from './tokenizer_files';
import { linearValues, valuesOf } from './values';

/** Options of `exportHuggingFace`. */
export interface ExportHuggingFaceOptions extends FolderOptions {
  /** The model's tokenizer.json. Default: that of the byte tokenizer where the vocabulary has its size, else none. */
  readonly tokenizerFile?: string;
}

type Weights = [string, TensorData][];

/** Rows `from` to `to` of a matrix or vector. */
function rows({ shape, data }: TensorData, from: number, to: number): TensorData {
  const width = data.length / shape[0]!;
  return { shape: [to - from, ...shape.slice(1)], data: data.subarray(from * width, to * width) };
}

/** A merged layer in parts of its output features. */
function* linearParts(
  layer: TransformerBlock['ffn']['fc1'],
  names: readonly string[],
  sizes: readonly number[],
): Generator<[string, TensorData]> {
  const { u, bias } = linearValues(layer, true);
  let from = 0;
  for (const [i, name] of names.entries()) {
    const to = from + sizes[i]!;
    yield [`${name}.weight`, rows(u, from, to)];
    if (bias) yield [`${name}.bias`, rows(bias, from, to)];
    from = to;
  }
}

/** Their LayerNorm always has a bias: zeros where ours has none. */
function* normParts(norm: LayerNorm | RMSNorm, name: string): Generator<[string, TensorData]> {
  yield [`${name}.weight`, valuesOf(norm.weight)];
  if (!('bias' in norm)) return;
  const zeros = { shape: norm.weight.shape, data: new Float32Array(norm.weight.size) };
  yield [`${name}.bias`, norm.bias ? valuesOf(norm.bias) : zeros];
}

function weightsOf(model: TransformerLM, { mlp }: Architecture): Weights {
  const { dModel, dFF, nHeads, nKvHeads, headSize } = model.config;
  const [queries, keys] = [nHeads * headSize, nKvHeads * headSize];
  const weights: Weights = [['model.embed_tokens.weight', valuesOf(model.embedding.weight)]];
  model.blocks.forEach(({ norm1, attention, norm2, ffn }, i) => {
    const layer = `model.layers.${i}`;
    const projections = ['q_proj', 'k_proj', 'v_proj'].map((name) => `${layer}.self_attn.${name}`);
    weights.push(
      ...normParts(norm1, `${layer}.input_layernorm`),
      ...linearParts(attention.qkv, projections, [queries, keys, keys]),
      ...linearParts(attention.out, [`${layer}.self_attn.o_proj`], [dModel]),
      ...normParts(norm2, `${layer}.post_attention_layernorm`),
      ...linearParts(
        ffn.fc1,
        mlp.fc1.map((name) => `${layer}.mlp.${name}`),
        mlp.fc1.map(() => dFF),
      ),
      ...linearParts(ffn.fc2, [`${layer}.mlp.${mlp.fc2}`], [dModel]),
    );
  });
  weights.push(...normParts(model.norm, 'model.norm'));
  if (model.head) weights.push(['lm_head.weight', valuesOf(model.head.weight)]);
  for (const [name, { data }] of weights) checkFinite('export', name, data);
  return weights;
}

/**
 * Writes `config.json`, `generation_config.json`, `model.safetensors`, and the tokenizer's files where there is a tokenizer.
 * docs/export.md says which model becomes which architecture.
 * @throws {OptionError} naming what no known architecture can express. @throws {FormatError} naming a tensor with a value that
 * is not finite. @throws {FileError}
 */
export function exportHuggingFace(model: TransformerLM, folder: string, options: ExportHuggingFaceOptions = {}): void {
  checkInstance('exportHuggingFace: model', model, TransformerLM);
  checkPath('exportHuggingFace: folder', folder);
  checkKeys('exportHuggingFace', options, { ...FOLDER_OPTIONS, tokenizerFile: 0 });
  const tokenizer = exportedTokenizer(options.tokenizerFile, model.config.vocabSize);
  const endOfText = tokenizer?.endOfText?.id ?? null;
  const architecture = architectureOf(model, endOfText);
  writeFolder(folder, options, (fresh) =>
    noGrad(() =>
      tidy(() => {
        writeJson(join(fresh, 'config.json'), architecture.config);
        writeGenerationConfig(fresh, endOfText);
        saveSafetensors(join(fresh, 'model.safetensors'), weightsOf(model, architecture), { format: 'pt' });
        if (tokenizer) writeTokenizer(fresh, tokenizer, model.config.seqLen);
      }),
    ),
  );
}
