/** transformers.js loads exported folders as they are, and computes what we do, whatever the lengths in a batch. */
import { join } from 'node:path';
import { type ExportOnnxOptions, exportHuggingFace, exportOnnx } from '../../lib/export';
import type { TransformerConfig, TransformerLM } from '../../lib/nn';
import { ByteTokenizer } from '../../lib/text';
import { relativeError } from '../support/check_op';
import { SMALL_FFN } from '../support/structures';
import { logitsOf, randomIds, randomModel } from './random_model';
import { folder, runChild } from './support';
import type { ClientAnswer, ClientRequest } from './transformers_js_child';

const BASE: TransformerConfig = { vocabSize: 257, dModel: 24, nLayers: 2, nHeads: 4, seqLen: 32 };
const PROMPTS = ['a', 'Four score', 'My fellow Am'];
const NEW_TOKENS = 6;

interface Case {
  readonly name: string;
  readonly config: Partial<TransformerConfig>;
  readonly options?: ExportOnnxOptions;
}

const CASES: readonly Case[] = [
  { name: 'StarCoder2 with factors', config: { ffn: SMALL_FFN.blockshuffle, nKvHeads: 2 } },
  {
    name: 'Llama, merged, its weights in a file of their own',
    config: { norm: 'rms', activation: 'swiglu', bias: false, headSize: 10, nKvHeads: 1, ffn: SMALL_FFN.lowrank },
    options: { weights: 'merged', largestModel: 1000 },
  },
  {
    name: 'StableLM, grouped queries, a head of its own',
    config: { activation: 'swiglu', bias: false, nKvHeads: 2, tieEmbeddings: false },
  },
  { name: 'no known architecture', config: { learnedPositions: true, qkNorm: true, nKvHeads: 2 } },
  {
    name: 'an activation between factors',
    config: { ffn: { structure: 'lowrank', rank: 5, innerActivation: 'silu' } },
  },
  { name: 'no positions', config: { ropeBase: 0, ffn: SMALL_FFN.btt } },
  { name: 'no tokenizer', config: { vocabSize: 37 } },
];

const argmax = (values: ArrayLike<number>): number => Array.from(values).indexOf(Math.max(...Array.from(values)));

/** Logits of the last token, and the most likely tokens after a prompt. */
function continuation(model: TransformerLM, prompt: readonly number[]): number[] {
  const ids = [...prompt];
  for (let i = 0; i < NEW_TOKENS; i++)
    ids.push(argmax(Array.from(logitsOf(model, ids, 1)).slice(-model.config.vocabSize)));
  return ids.slice(prompt.length);
}

const place = (index: number) => join(folder, `client-${index}`);
const models = CASES.map(({ config, options = {} }, i) => {
  const model = randomModel({ ...BASE, ...config });
  exportOnnx(model, place(i), options);
  return model;
});
const uncached = join(folder, 'uncached');
exportHuggingFace(models[0]!, uncached);
exportOnnx(models[0]!, uncached, { cache: false, force: true });
const ids = [0, 1, 2].map((row) => randomIds(5 + row, 37).slice(0, 5));
const promptsOf = ({ vocabSize }: TransformerConfig) => (vocabSize === 257 ? PROMPTS : ids);
const requests: ClientRequest[] = models.map(({ config }, i) => ({
  folder: place(i),
  prompts: promptsOf(config),
  newTokens: NEW_TOKENS,
}));
const answers = runChild<ClientAnswer | string>('transformers_js_child.ts', [
  ...requests,
  { folder: uncached, prompts: PROMPTS, newTokens: NEW_TOKENS },
]);

describe.each(CASES.map(({ name }, i) => ({ name, i })))('$name', ({ i }) => {
  const model = models[i]!;
  const tokenizer = new ByteTokenizer();
  const prompts = requests[i]!.prompts.map((prompt) =>
    typeof prompt === 'string' ? [...tokenizer.encode(prompt)] : prompt,
  );
  const answer = answers[i] as ClientAnswer;

  test('the batch is filled on the left', () => {
    expect(typeof answer).toBe('object');
    const longest = Math.max(...prompts.map(({ length }) => length));
    for (const [row, prompt] of prompts.entries()) {
      expect(answer.mask[row]).toEqual(
        Array.from({ length: longest }, (_, at) => Number(at >= longest - prompt.length)),
      );
      expect(answer.inputs[row]!.slice(longest - prompt.length)).toEqual(prompt);
    }
  });

  test('each row has the logits that its prompt has alone', () => {
    for (const [row, prompt] of prompts.entries()) {
      const given = answer.logits[row]!.slice(-prompt.length).flat();
      expect(relativeError(given, logitsOf(model, prompt, 1))).toBeLessThan(1e-5);
    }
  });

  test('each row goes on as its prompt does alone', () => {
    const expected = prompts.map((prompt) => continuation(model, prompt));
    expect(answer.generated.map((row) => row.slice(-NEW_TOKENS))).toEqual(expected);
    if (answer.texts.length > 0)
      expect(answer.texts).toEqual(prompts.map((prompt, row) => tokenizer.decode([...prompt, ...expected[row]!])));
  });
});

test('a graph without a cache is not taken for one with a cache, beside a config either', () => {
  expect(answers[CASES.length]).toMatch(/onnx\/model\.onnx/);
});
