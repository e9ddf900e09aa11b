import { OptionError } from '../../lib';
import {
  CausalSelfAttention,
  presetConfig,
  resolveConfig,
  TransformerBlock,
  type TransformerConfig,
  TransformerLM,
} from '../../lib/nn';

const config: TransformerConfig = { vocabSize: 31, dModel: 32, nLayers: 1, nHeads: 4, seqLen: 16 };
/** What a config.json may hold whatever the types say. */
const untyped = (values: object): TransformerConfig => ({ ...config, ...values });

test('every option is set, those that follow from others too', () => {
  expect(resolveConfig(config)).toEqual({
    ...config,
    nKvHeads: 4,
    headSize: 8,
    attnDim: 32,
    dFF: 128,
    norm: 'layer',
    normEps: 1e-5,
    activation: 'gelu',
    bias: true,
    qkvBias: true,
    outBias: true,
    qkNorm: false,
    ropeBase: 10000,
    ropeScaling: null,
    learnedPositions: false,
    slidingWindow: null,
    tieEmbeddings: true,
    ffn: { structure: 'dense' },
    firstFfnDense: true,
  });
  expect(resolveConfig({ ...config, bias: false })).toMatchObject({ qkvBias: false, outBias: false });
  expect(resolveConfig({ ...config, headSize: 6 })).toMatchObject({ headSize: 6, attnDim: 24 });
  expect(resolveConfig({ ...config, attnDim: 24 })).toMatchObject({ headSize: 6, attnDim: 24 });
  expect(resolveConfig({ ...config, learnedPositions: true }).ropeBase).toBe(0);
});

test('undefined is as good as nothing', () => {
  const nothing = Object.fromEntries(Object.keys(resolveConfig(config)).map((name) => [name, undefined]));
  expect(resolveConfig({ ...nothing, ...config })).toEqual(resolveConfig(config));
});

test('resolving again, or what came from a file, changes nothing', () => {
  const resolved = resolveConfig({ ...config, headSize: 6, nKvHeads: 2, ffn: { structure: 'lowrank', rank: 3 } });
  expect(resolveConfig(resolved)).toBe(resolved);
  expect(resolveConfig(JSON.parse(JSON.stringify(resolved)))).toEqual(resolved);
});

test('a config that its caller changes afterwards changes nothing', () => {
  const ffn = { structure: 'lowrank' as const, rank: 8 };
  const mine = { ...config, ffn };
  const model = new TransformerLM(mine);
  mine.seqLen = 2;
  ffn.rank = 1;
  expect(model.config).toMatchObject({ seqLen: 16, ffn: { rank: 8 } });
  expect(Object.isFrozen(model.config) && Object.isFrozen(model.config.ffn)).toBe(true);
});

test.each<[string, object, string]>([
  ['a name in another spelling', { n_heads: 4 }, 'n_heads: unknown option of TransformerConfig; did you mean nHeads?'],
  ['a misspelt name', { rope_theta: 1 }, 'rope_theta: unknown option of TransformerConfig; did you mean ropeBase?'],
  [
    'a misspelt name of the structure',
    { ffn: { structure: 'lowrank', n_blocks: 2 } },
    'n_blocks: unknown option of TransformerConfig.ffn; did you mean nblocks?',
  ],
  [
    'rotary scaling',
    { ropeScaling: { type: 'linear' } },
    'config: ropeScaling: expected null (scaled rotary positions are',
  ],
  [
    'a short window',
    { slidingWindow: 15 },
    'config: slidingWindow: expected null or seqLen (16); less is not supported',
  ],
  ['a window of nothing', { slidingWindow: 0 }, 'config: slidingWindow: expected a whole number of at least 1, got 0'],
  ['a negative eps', { normEps: -1 }, 'config: normEps: expected a number of at least 0, got -1'],
  ['a bias that is text', { qkvBias: 'no' }, "config: qkvBias: expected true or false, got 'no'"],
  [
    'heads that do not make the width',
    { headSize: 6, attnDim: 32 },
    'attention: headSize: expected attnDim / nHeads (8), got 6',
  ],
  ['half a feature', { headSize: 1.5 }, 'config: headSize: expected a whole number'],
  ['an odd head that should turn', { headSize: 5 }, 'attention: head size: expected an even number'],
  ['key heads that do not divide', { nKvHeads: 3 }, 'attention: nKvHeads: expected a divisor of nHeads (4), got 3'],
])('%s is refused', (_, values, message) => {
  expect(() => resolveConfig(untyped(values))).toThrow(OptionError);
  expect(() => resolveConfig(untyped(values))).toThrow(message);
});

test('what is no config is refused', () => {
  // @ts-expect-error what an untyped caller may do
  expect(() => resolveConfig(null)).toThrow('config: expected an object, got null');
  // @ts-expect-error what an untyped caller may do
  expect(() => resolveConfig([])).toThrow(OptionError);
});

test('the parts are built by themselves with the same defaults', () => {
  expect(new CausalSelfAttention({ dModel: 32, nHeads: 4 }).headSize).toBe(8);
  const { attention, ffn } = new TransformerBlock({ ...config, headSize: 4, qkvBias: false }, { structure: 'dense' });
  expect([...attention.namedParameters()].map(([name, { shape }]) => [name, shape])).toEqual([
    ['qkv.weight', [48, 32]],
    ['out.weight', [32, 16]],
    ['out.bias', [32]],
  ]);
  expect(ffn.layers[0].outFeatures).toBe(128);
});

test('a preset takes the options of a config and no others', () => {
  expect(presetConfig('tiny', { normEps: 1e-6 })).toMatchObject({ dModel: 64, normEps: 1e-6 });
  // @ts-expect-error what an untyped caller may do
  expect(() => presetConfig('tiny', { layers: 3 })).toThrow(
    'layers: unknown option of TransformerConfig; did you mean nLayers?',
  );
});
