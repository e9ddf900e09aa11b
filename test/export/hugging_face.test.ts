/** Exported models are of the architecture that they name: PyTorch's forward of it gives our logits. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError, OptionError } from '../../lib';
import { exportHuggingFace } from '../../lib/export';
import { loadSafetensors } from '../../lib/io';
import { Guidance, type TransformerConfig } from '../../lib/nn';
import { ByteTokenizer, byteTokenizerJson, loadTokenizer } from '../../lib/text';
import { relativeError } from '../support/check_op';
import { FIXTURES, HF_CASES, hasTorch, torchLogits } from './hf_cases';
import { logitsOf, randomIds, randomModel } from './random_model';
import { folder } from './support';

const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

/** The recorded logits are always compared; those of PyTorch itself where it is installed. */
const sources = hasTorch() ? ['recorded', 'computed now'] : ['recorded'];

describe.each(HF_CASES)('$name', ({ name, architecture, config }) => {
  const model = randomModel(config);
  const out = join(folder, name);
  exportHuggingFace(model, out);
  const ids = randomIds(12, config.vocabSize);
  const recorded = join(FIXTURES, name);

  test('is what was recorded', () => {
    const exported = readJson(join(out, 'config.json'));
    expect(exported.model_type).toBe(architecture);
    expect(exported).toEqual(readJson(join(recorded, 'config.json')));
    const [given, expected] = [out, recorded].map((path) => loadSafetensors(join(path, 'model.safetensors')));
    expect(given!.metadata.get('format')).toBe('pt');
    expect([...given!.tensors.keys()]).toEqual([...expected!.tensors.keys()]);
    for (const [key, { shape, data }] of expected!.tensors) {
      expect([key, given!.tensors.get(key)!.shape]).toEqual([key, shape]);
      expect(relativeError(given!.tensors.get(key)!.data, data)).toBeLessThan(1e-6);
    }
  });

  test.each(sources)('gives our logits, by the logits of PyTorch that were %s', (source) => {
    const logits =
      source === 'recorded'
        ? readJson(join(recorded, 'logits.json'))
        : torchLogits(out, [ids.slice(0, 6), ids.slice(6)]);
    expect(relativeError(logitsOf(model, ids, 2), logits)).toBeLessThan(1e-5);
  });
});

const BASE: TransformerConfig = { vocabSize: 257, dModel: 8, nLayers: 1, nHeads: 2, seqLen: 9 };

test('before the hand-over the guides are merged in with their alpha', () => {
  const guidance = new Guidance({ steps: 4 });
  guidance.advance();
  const model = randomModel({ ...BASE, firstFfnDense: false, ffn: { structure: 'lowrank', rank: 2 } }, guidance);
  const out = join(folder, 'guided');
  exportHuggingFace(model, out);
  const { tensors } = loadSafetensors(join(out, 'model.safetensors'));
  const { fc1 } = model.blocks[0]!.ffn;
  expect(tensors.get('model.layers.0.mlp.c_fc.weight')!.data).toEqual(fc1.merge().toArray());
});

test('the byte tokenizer becomes a tokenizer.json with the same ids', () => {
  const out = join(folder, 'bytes');
  exportHuggingFace(randomModel(BASE), out);
  const tokenizer = loadTokenizer(join(out, 'tokenizer.json'));
  const text = 'Ünï-code, 漢字 & emoji 🙂\n\ttabs\u0000<|endoftext';
  const bytes = new ByteTokenizer();
  expect(tokenizer.encode(text)).toEqual(bytes.encode(text));
  expect(tokenizer.decode(bytes.encode(text))).toBe(text);
  expect([tokenizer.vocabSize, tokenizer.endOfText]).toEqual([257, 256]);
  expect(readJson(join(out, 'config.json')).eos_token_id).toBe(256);
  expect(readJson(join(out, 'tokenizer_config.json'))).toMatchObject({
    tokenizer_class: 'PreTrainedTokenizerFast',
    eos_token: '<|endoftext|>',
    pad_token: '<|endoftext|>',
    padding_side: 'left',
    model_max_length: 9,
  });
  expect(readJson(join(out, 'generation_config.json'))).toEqual({
    bos_token_id: 256,
    eos_token_id: 256,
    pad_token_id: 256,
  });
});

test('an exported tokenizer puts nothing around a prompt, nor cuts it', () => {
  const [file, out] = [join(folder, 'marked.json'), join(folder, 'marked')];
  const json = byteTokenizerJson() as { added_tokens: { id: number; content: string }[] };
  const [end] = json.added_tokens;
  const start = { SpecialToken: { id: '<s>', type_id: 0 } };
  const single = [start, { Sequence: { id: 'A', type_id: 0 } }];
  const post_processor = {
    type: 'TemplateProcessing',
    single,
    pair: single,
    special_tokens: { '<s>': { id: '<s>', ids: [257], tokens: ['<s>'] } },
  };
  const added_tokens = [
    { ...end, content: '</s>' },
    { ...end, id: 257, content: '<s>' },
  ];
  const truncation = { max_length: 4, strategy: 'LongestFirst', stride: 0, direction: 'Right' };
  writeFileSync(file, JSON.stringify({ ...json, added_tokens, post_processor, truncation }));
  exportHuggingFace(randomModel({ ...BASE, vocabSize: 258 }), out, { tokenizerFile: file });
  expect(() => exportHuggingFace(randomModel(BASE), join(folder, 'small'), { tokenizerFile: file })).toThrow(
    'export: tokenizerFile: expected a tokenizer of at most 257 ids, as the model has, got 258',
  );
  const exported = readJson(join(out, 'tokenizer.json'));
  expect(exported).toEqual({ ...json, added_tokens, post_processor: null, truncation: null, padding: null });
  const { Tokenizer } = require('@huggingface/tokenizers') as {
    Tokenizer: new (json: object, config: object) => { encode(text: string): { ids: number[] } };
  };
  expect(new Tokenizer(exported, {}).encode('a prompt</s>').ids).toEqual([
    ...loadTokenizer(file).encode('a prompt</s>'),
  ]);
  const config = readJson(join(out, 'tokenizer_config.json'));
  expect(config.eos_token).toBe('</s>');
  expect(config).not.toHaveProperty('bos_token');
});

test('a vocabulary of unknown origin has no tokenizer', () => {
  const out = join(folder, 'llama');
  expect(existsSync(join(out, 'tokenizer.json'))).toBe(false);
  expect(readJson(join(out, 'config.json')).eos_token_id).toBeNull();
});

test('a value that is not finite is refused by the name of its tensor', () => {
  const refuse = (parameter: string, value: number, tensor: string) => {
    const model = randomModel({ ...BASE, firstFfnDense: false, ffn: { structure: 'lowrank', rank: 2 } });
    model.namedParameters().get(parameter)!.data[1] = value;
    const out = join(folder, 'not finite');
    expect(() => exportHuggingFace(model, out)).toThrow(FormatError);
    expect(() => exportHuggingFace(model, out)).toThrow(`export: tensor '${tensor}' is not finite: element`);
    expect(existsSync(out)).toBe(false);
  };
  refuse('blocks.0.ffn.fc1.v', Number.NaN, 'model.layers.0.mlp.c_fc.weight');
  refuse('blocks.0.norm2.bias', Number.POSITIVE_INFINITY, 'model.layers.0.post_attention_layernorm.bias');
});

const exported = (name: string, config: Partial<TransformerConfig>) => {
  const model = randomModel({ ...BASE, ...config });
  const out = join(folder, name);
  exportHuggingFace(model, out);
  const { tensors } = loadSafetensors(join(out, 'model.safetensors'));
  return { model, config: readJson(join(out, 'config.json')), tensors };
};
const LLAMA: Partial<TransformerConfig> = { norm: 'rms', activation: 'swiglu', bias: false };

test('a head of its own is exported as one', () => {
  const { model, config, tensors } = exported('untied', { ...LLAMA, tieEmbeddings: false });
  expect(config).toMatchObject({ model_type: 'llama', tie_word_embeddings: false });
  expect(tensors.get('lm_head.weight')).toMatchObject({ shape: [257, 8], data: model.head!.weight.toArray() });
});

test('eps, head size and biases go where each architecture has them', () => {
  const llama = exported('llama-biases', { ...LLAMA, qkvBias: true, outBias: true, normEps: 1e-6, headSize: 6 });
  expect(llama.config).toMatchObject({ attention_bias: true, mlp_bias: false, rms_norm_eps: 1e-6, head_dim: 6 });
  expect([...llama.tensors.keys()].filter((name) => name.endsWith('bias'))).toEqual(
    ['q', 'k', 'v', 'o'].map((part) => `model.layers.0.self_attn.${part}_proj.bias`),
  );
  const stablelm = exported('stablelm-biases', { activation: 'swiglu', bias: false, qkvBias: true, normEps: 1e-4 });
  expect(stablelm.config).toMatchObject({ model_type: 'stablelm', use_qkv_bias: true, layer_norm_eps: 1e-4 });
  expect(stablelm.tensors.has('model.layers.0.self_attn.o_proj.bias')).toBe(false);
  expect(exported('starcoder2-eps', { normEps: 1e-6 }).config).toMatchObject({ norm_epsilon: 1e-6 });
});

test.each<[string, Partial<TransformerConfig>, RegExp]>([
  ['learned positions', { learnedPositions: true }, /export: learnedPositions: expected false/],
  ['norms of queries and keys', { ...LLAMA, qkNorm: true }, /export: qkNorm: expected false/],
  ['Llama with one bias', { ...LLAMA, qkvBias: true }, /export: outBias: expected qkvBias \(true\), as Llama/],
  ['StarCoder2 with one bias less', { outBias: false }, /export: outBias: expected bias \(true\), as StarCoder2/],
  [
    'StableLM with an output bias',
    { activation: 'swiglu', bias: false, outBias: true },
    /export: outBias: expected false/,
  ],
  [
    'an activation between factors',
    { ffn: { structure: 'lowrank', rank: 2, innerActivation: 'silu' } },
    /export: ffn: innerActivation: expected 'none'/,
  ],
  ['ropeBase', { ropeBase: 0 }, /export: ropeBase: expected rotary positions/],
  ['rms norm without swiglu', { norm: 'rms', activation: 'silu' }, /export: activation: expected swiglu/],
  ['layer norm with swiglu and biases', { activation: 'swiglu' }, /export: bias: expected false/],
  ['a width of its own for attention', { attnDim: 12 }, /export: attnDim: expected dModel \(8\)/],
])('%s: no known architecture has it', (name, config, message) => {
  const model = randomModel({ ...BASE, ...config });
  const out = join(folder, `refused ${name}`);
  expect(() => exportHuggingFace(model, out)).toThrow(OptionError);
  expect(() => exportHuggingFace(model, out)).toThrow(message);
  expect(existsSync(out)).toBe(false);
});
