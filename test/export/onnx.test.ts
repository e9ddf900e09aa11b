/** Exported ONNX models give onnxruntime the logits that we compute. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError, memoryStats, OptionError } from '../../lib';
import { type ExportOnnxOptions, exportOnnx } from '../../lib/export';
import { Guidance, releaseGuides, type TransformerConfig } from '../../lib/nn';
import { relativeError } from '../support/check_op';
import { allocatedWithoutGarbage } from '../support/garbage';
import { SMALL_FFN, STRUCTURED } from '../support/structures';
import { logitsOf, randomIds, randomModel } from './random_model';
import { readOnnx } from './read_onnx';
import { folder, runOnnx } from './support';

beforeEach(() => allocatedWithoutGarbage());

const BASE: TransformerConfig = { vocabSize: 37, dModel: 24, nLayers: 2, nHeads: 4, seqLen: 19 };

interface Case {
  readonly name: string;
  readonly config: Partial<TransformerConfig>;
  readonly options?: ExportOnnxOptions;
  readonly batch?: number;
  readonly seq?: number;
  /** With a cache: how the sequence is cut. */
  readonly pieces?: readonly number[];
}

const CASES: readonly Case[] = [
  ...Object.entries(SMALL_FFN).flatMap(([name, ffn]): Case[] =>
    (['factored', 'merged'] as const).map((weights) => ({
      name: `${name}, ${weights}`,
      config: { ffn, firstFfnDense: false },
      options: { weights },
    })),
  ),
  ...(['gelu', 'silu', 'relu'] as const).flatMap((innerActivation): Case[] =>
    STRUCTURED.map((structure) => ({
      name: `${structure}, ${innerActivation} between the factors`,
      config: { ffn: { ...SMALL_FFN[structure], innerActivation }, firstFfnDense: false },
    })),
  ),
  { name: 'the first block dense', config: { ffn: SMALL_FFN.lowrank } },
  { name: 'one token', config: { ffn: SMALL_FFN.blockshuffle }, batch: 1, seq: 1 },
  { name: 'the longest context', config: { ffn: SMALL_FFN.blockdense }, batch: 1, seq: 19 },
  { name: 'grouped queries', config: { nKvHeads: 2 } },
  { name: 'one key head', config: { nKvHeads: 1, attnDim: 40 } },
  { name: 'no positions, an odd head size', config: { ropeBase: 0, nHeads: 8, nKvHeads: 2 } },
  { name: 'another base of positions', config: { ropeBase: 500 } },
  { name: 'no biases', config: { bias: false, ffn: SMALL_FFN.blockshuffle } },
  { name: 'rms norm and swiglu', config: { norm: 'rms', activation: 'swiglu', dFF: 31 } },
  { name: 'swiglu with blocks', config: { activation: 'swiglu', ffn: SMALL_FFN.blockshuffle } },
  { name: 'silu', config: { activation: 'silu', dFF: 17 } },
  { name: 'relu', config: { activation: 'relu' } },
  { name: 'no activation', config: { activation: 'none' } },
  { name: 'another eps of layer norms', config: { normEps: 0.2 } },
  { name: 'another eps of rms norms', config: { norm: 'rms', normEps: 0.2 } },
  { name: 'a head of its own', config: { tieEmbeddings: false } },
  { name: 'biases of the projection alone', config: { bias: false, qkvBias: true } },
  { name: 'a bias of the output alone', config: { bias: false, outBias: true } },
  { name: 'wider heads', config: { headSize: 10, nKvHeads: 2 } },
  { name: 'learned positions', config: { learnedPositions: true } },
  { name: 'norms of queries and keys', config: { qkNorm: true, nKvHeads: 2, ffn: SMALL_FFN.lowrank } },
  { name: 'weights in a file of their own', config: { ffn: SMALL_FFN.lowrank }, options: { largestModel: 1000 } },
  { name: 'a cache, at once', config: { ffn: SMALL_FFN.lowrank }, pieces: [7] },
  { name: 'a cache, token by token', config: { ffn: SMALL_FFN.blockshuffle }, pieces: [1, 1, 1, 1, 1, 1, 1] },
  { name: 'a cache, a prompt and then tokens', config: { nKvHeads: 2 }, pieces: [4, 1, 2] },
  {
    name: 'a cache with learned positions',
    config: { learnedPositions: true, tieEmbeddings: false },
    pieces: [4, 1, 2],
  },
  { name: 'a cache with norms of keys', config: { qkNorm: true, nKvHeads: 2 }, pieces: [1, 5, 1] },
  { name: 'a cache without positions', config: { ropeBase: 0, nKvHeads: 1 }, pieces: [3, 3, 1] },
];

const modelIn = (out: string) => join(out, 'onnx', 'model.onnx');
const uncachedIn = (out: string) => join(out, 'model.onnx');
const place = (index: number) => join(folder, `case-${index}`);

/** The graph of a case. */
const graphOf = (index: number) => (CASES[index]!.pieces ? modelIn : uncachedIn)(place(index));

const tests = CASES.map(({ name, config, options = {}, batch = 2, seq = 7, pieces }, i) => {
  const model = randomModel({ ...BASE, ...config });
  const ids = randomIds(batch * seq, BASE.vocabSize);
  const expected = logitsOf(model, ids, batch);
  exportOnnx(model, place(i), { ...options, cache: pieces !== undefined });
  model.dispose();
  return { name, expected, request: { model: graphOf(i), batch, ids, pieces } };
});
const answers = runOnnx(tests.map(({ request }) => request));

test.each(tests.map((each, i) => ({ ...each, answer: answers[i]! })))('$name', ({ expected, answer }) => {
  expect(typeof answer).toBe('object');
  expect(relativeError(answer as number[], expected)).toBeLessThan(1e-5);
});

test('only a model too large for one file has two', () => {
  const filesOf = (name: string) => readdirSync(place(CASES.findIndex((each) => each.name === name))).sort();
  expect(filesOf('weights in a file of their own')).toEqual(['model.onnx', 'model.onnx_data']);
  expect(filesOf('relu')).toEqual(['model.onnx']);
});

test('a sequence beyond the context is refused by the graph', () => {
  const index = CASES.findIndex(({ name }) => name === 'grouped queries');
  const model = graphOf(index);
  expect(runOnnx([{ model, batch: 1, ids: randomIds(20, 37) }])[0]).toMatch(/out of (data )?bounds/);
});

const PADDED: readonly [string, Partial<TransformerConfig>, number[]][] = [
  ['at once', { ffn: SMALL_FFN.lowrank }, [9]],
  ['token by token', { nKvHeads: 2 }, Array(9).fill(1)],
  ['a prompt and then tokens, with one key head', { nKvHeads: 1 }, [7, 1, 1]],
  ['learned positions', { learnedPositions: true, nKvHeads: 2 }, [6, 3]],
  ['no positions', { ropeBase: 0 }, [5, 4]],
];

describe('rows of three lengths, filled on the left', () => {
  const padding = [0, 5, 2];
  const [batch, seq] = [3, 9];
  const ids = randomIds(batch * seq, BASE.vocabSize);
  const models = PADDED.map(([, config]) => randomModel({ ...BASE, ...config }));
  const requests = models.flatMap((model, i) => {
    const [cached, whole] = [join(folder, `padded-${i}`), join(folder, `padded-whole-${i}`)];
    exportOnnx(model, cached);
    exportOnnx(model, whole, { cache: false });
    const request = { batch, ids, padding };
    return [
      { ...request, model: modelIn(cached), pieces: PADDED[i]![2] },
      { ...request, model: uncachedIn(whole) },
    ];
  });
  const results = runOnnx(requests) as number[][];

  test.each(PADDED.map(([name], i) => [name, i] as const))('%s', (_name, i) => {
    for (const logits of results.slice(2 * i, 2 * i + 2))
      for (const [row, from] of padding.entries()) {
        const expected = logitsOf(models[i]!, ids.slice(row * seq + from, (row + 1) * seq), 1);
        const given = logits.slice((row * seq + from) * BASE.vocabSize, (row + 1) * seq * BASE.vocabSize);
        expect(relativeError(given, expected)).toBeLessThan(1e-5);
      }
  });
});

test('a mask and positions of another length are refused by the graph, not spread', () => {
  const out = join(folder, 'lengths');
  exportOnnx(randomModel({ ...BASE, nKvHeads: 2 }), out);
  const request = { model: modelIn(out), batch: 2, ids: randomIds(8, BASE.vocabSize), pieces: [3, 1] };
  const ones = (name: string, dims: readonly [number, number]) => ({
    [name]: { dims, data: Array<number>(dims[0] * dims[1]).fill(1) },
  });
  const wrong = [ones('attention_mask', [2, 1]), ones('attention_mask', [1, 3]), ones('position_ids', [2, 1])];
  for (const answer of runOnnx(wrong.map((each) => ({ ...request, wrong: each })))) expect(answer).toMatch(/reshape/i);
});

test('no matrix that Gemm transposes is read by Gather too: quantizers change its layout', () => {
  for (const [i, { name, config }] of CASES.entries()) {
    const { nodes, initializers } = readOnnx(graphOf(i));
    const readBy = (operation: string) =>
      new Set(
        nodes.flatMap((node) => (node.operation === operation ? node.inputs : [])).filter((x) => initializers.has(x)),
      );
    const gathered = readBy('Gather');
    expect({ name, shared: [...readBy('Gemm')].filter((x) => gathered.has(x)) }).toEqual({ name, shared: [] });
    const transposed = nodes.find(
      ({ operation, inputs }) => operation === 'Transpose' && inputs[0] === 'embedding.weight',
    );
    const head = nodes.find(({ operation, inputs }) => operation === 'MatMul' && inputs[1] === transposed?.outputs[0]);
    expect({ name, head: head !== undefined }).toEqual({ name, head: config.tieEmbeddings !== false });
  }
});

test.each<[string, number, Partial<TransformerConfig>]>([
  ['blocks.1.ffn.fc1.u', Number.NaN, { ffn: SMALL_FFN.lowrank }],
  ['blocks.1.ffn.fc2.v', Number.NEGATIVE_INFINITY, { ffn: SMALL_FFN.blockshuffle }],
  ['blocks.0.attention.qkv.bias', Number.POSITIVE_INFINITY, {}],
  ['embedding.weight', Number.NaN, {}],
  ['norm.bias', Number.NaN, {}],
])('a value of %s that is not finite is refused by its name', (name, value, config) => {
  const model = randomModel({ ...BASE, ...config });
  model.namedParameters().get(name)!.data[3] = value;
  const out = join(folder, `not finite ${name}`);
  expect(() => exportOnnx(model, out)).toThrow(FormatError);
  expect(() => exportOnnx(model, out)).toThrow(`export: tensor '${name}`);
  expect(existsSync(out)).toBe(false);
});

test('before the hand-over the guides are merged in with their alpha, and factors are refused', () => {
  const guidance = new Guidance({ steps: 4 });
  guidance.advance();
  const model = randomModel({ ...BASE, ffn: SMALL_FFN.blockdense }, guidance);
  const ids = randomIds(14, BASE.vocabSize);
  const out = join(folder, 'guided');
  expect(() => exportOnnx(model, out)).toThrow(OptionError);
  expect(() => exportOnnx(model, out)).toThrow("expected 'merged', because the guides still count");
  expect(existsSync(out)).toBe(false);
  exportOnnx(model, out, { weights: 'merged' });
  const mixed = logitsOf(model, ids, 2);
  releaseGuides(model);
  exportOnnx(model, `${out}-after`);
  const request = { batch: 2, ids };
  const [before, after] = runOnnx([
    { ...request, model: modelIn(out) },
    { ...request, model: modelIn(`${out}-after`) },
  ]) as number[][];
  expect(relativeError(before!, mixed)).toBeLessThan(1e-5);
  expect(relativeError(after!, logitsOf(model, ids, 2))).toBeLessThan(1e-5);
  expect(relativeError(after!, mixed)).toBeGreaterThan(1e-2);
});

test('factors with an activation between them have no matrix', () => {
  const model = randomModel({ ...BASE, ffn: { ...SMALL_FFN.lowrank, innerActivation: 'gelu' } });
  const out = join(folder, 'refused');
  expect(() => exportOnnx(model, out, { weights: 'merged' })).toThrow(OptionError);
  expect(() => exportOnnx(model, out, { weights: 'merged' })).toThrow(/merge: innerActivation: expected 'none'/);
  expect(existsSync(out)).toBe(false);
});

test('nothing stays in memory', () => {
  const model = randomModel({ ...BASE, ffn: SMALL_FFN.lowrank });
  const { allocated } = memoryStats();
  exportOnnx(model, join(folder, 'memory'), { weights: 'merged' });
  expect(memoryStats().allocated).toBe(allocated);
});
