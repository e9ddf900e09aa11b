/** An option that does not exist is refused by its name, wherever options come in. */
import {
  causalAttention,
  crossEntropy,
  linear,
  linearCrossEntropy,
  matmul,
  OptionError,
  sum,
  tensor,
  zeros,
} from '../lib';
import { BatchLoader, evaluationBatches } from '../lib/data';
import { Decoder, generate, generateText, Sampler, tune } from '../lib/decode';
import { exportHuggingFace, exportOnnx } from '../lib/export';
import { CausalSelfAttention, createLinear, FeedForward, Guidance, LayerNorm, RMSNorm, TransformerLM } from '../lib/nn';
import { AdamW, constantSchedule, cosineSchedule, Muon, newtonSchulz, wsdSchedule } from '../lib/optim';
import { checkKeys } from '../lib/options';
import { ByteTokenizer, trainBpe } from '../lib/text';
import { evaluate, type TrainConfig, Trainer, train, trainInWorker } from '../lib/train';
import { smallModel } from './decode/support';

/** What an untyped caller may pass. */
const untyped = (value: object): never => value as never;

const model = smallModel();
const decoder = new Decoder(model);
const trainConfig = (extra: object, data: object = {}, guidance?: object) =>
  untyped({
    model: { vocabSize: 5, dModel: 4, nLayers: 1, nHeads: 1, seqLen: 4 },
    data: { train: 'none', dtype: 'uint16', ...data },
    guidance,
    steps: 1,
    batchSize: 1,
    learningRate: 1,
    ...extra,
  } satisfies Partial<Record<keyof TrainConfig, unknown>>);

/** Owner in the message, the unknown name, the nearest one, and the call. */
const PLACES: readonly [string, string, string, () => unknown][] = [
  ['TransformerLM', 'guidence', 'guidance', () => new TransformerLM(model.config, untyped({ guidence: 1 }))],
  [
    'CausalSelfAttention',
    'kvHeads',
    'nKvHeads',
    () => new CausalSelfAttention(untyped({ dModel: 4, nHeads: 2, kvHeads: 1 })),
  ],
  ['FeedForward', 'd_ff', 'dFF', () => new FeedForward(untyped({ structure: 'dense', dModel: 4, d_ff: 8 }))],
  [
    'Linear',
    'useBias',
    'bias',
    () => createLinear('dense', untyped({ inFeatures: 2, outFeatures: 2, useBias: false })),
  ],
  [
    'LowRankLinear',
    'ranks',
    'rank',
    () => createLinear('lowrank', untyped({ inFeatures: 2, outFeatures: 2, ranks: 1 })),
  ],
  ['LayerNorm', 'epsi', 'eps', () => new LayerNorm(3, untyped({ epsi: 1 }))],
  ['RMSNorm', 'ep', 'eps', () => new RMSNorm(3, untyped({ ep: 1 }))],
  ['Guidance', 'minprobability', 'minProbability', () => new Guidance(untyped({ steps: 3, minprobability: 1 }))],
  ['AdamW', 'weight_decay', 'weightDecay', () => new AdamW(new Map(), untyped({ weight_decay: 0 }))],
  ['a group of AdamW', 'lr_scale', 'lrScale', () => new AdamW([untyped({ parameters: new Map(), lr_scale: 2 })])],
  ['AdamW.step', 'max_grad_norm', 'maxGradNorm', () => new AdamW(new Map()).step(untyped({ max_grad_norm: 2 }))],
  ['Muon', 'nesterof', 'nesterov', () => new Muon(new Map(), untyped({ nesterof: true }))],
  ['newtonSchulz', 'iteration', 'iterations', () => newtonSchulz(tensor([[1]]), untyped({ iteration: 3 }))],
  ['Trainer', 'onGradient', 'onGradients', () => new Trainer(trainConfig({}), untyped({ onGradient: 0 }))],
  [
    'cosineSchedule',
    'warmup_steps',
    'warmupSteps',
    () => cosineSchedule(untyped({ peak: 1, totalSteps: 2, warmup_steps: 1 })),
  ],
  ['wsdSchedule', 'decay', 'decaySteps', () => wsdSchedule(untyped({ peak: 1, totalSteps: 2, decay: 1 }))],
  ['constantSchedule', 'warmup', 'warmupSteps', () => constantSchedule(untyped({ peak: 1, warmup: 1 }))],
  ['TrainConfig', 'lr_schedule', 'schedule', () => new Trainer(trainConfig({ lr_schedule: 'linear' }))],
  ['TrainConfig.data', 'validate', 'validation', () => new Trainer(trainConfig({}, { validate: 'x' }))],
  [
    'TrainConfig.guidance',
    'protocoll',
    'protocol',
    () => new Trainer(trainConfig({}, {}, { protocoll: 'fixed-flop' })),
  ],
  [
    'TransformerConfig',
    'd_model',
    'dModel',
    () => new Trainer(trainConfig({ model: { ...model.config, d_model: 1 } })),
  ],
  ['train', 'signals', 'signal', () => train({ resume: 'none' }, untyped({ signals: 1 })).next()],
  ['trainInWorker', 'sig', 'signal', () => trainInWorker({ resume: 'none' }, untyped({ sig: 1 })).next()],
  ['evaluate', 'batch_size', 'batchSize', () => evaluate(model, untyped({}), untyped({ batch_size: 1 }))],
  ['BatchLoader', 'orders', 'order', () => new BatchLoader(untyped({}), untyped({ orders: 'random' }))],
  ['evaluationBatches', 'max_rows', 'maxRows', () => [...evaluationBatches(untyped({}), untyped({ max_rows: 1 }))]],
  ['trainBpe', 'vocab_size', 'vocabSize', () => trainBpe([], untyped({ vocab_size: 300 }))],
  ['Decoder', 'prefill_chunk', 'prefillChunk', () => new Decoder(model, untyped({ prefill_chunk: 3 }))],
  ['tensor', 'requires_grad', 'requiresGrad', () => tensor([1], [1], untyped({ requires_grad: true }))],
  ['full', 'dType', 'dtype', () => zeros([1], untyped({ dType: 'int32' }))],
  ['backward', 'release', 'releaseGraph', () => tensor([1]).backward(null, untyped({ release: true }))],
  ['loadStateDict', 'stric', 'strict', () => model.loadStateDict(new Map(), untyped({ stric: false }))],
  ['sum', 'keepdim', 'keepDim', () => sum(tensor([1]), untyped({ keepdim: true }))],
  ['matmul', 'transpose_b', 'transposeB', () => matmul(tensor([[1]]), tensor([[1]]), untyped({ transpose_b: true }))],
  ['linear', 'act', 'activation', () => linear(tensor([[1]]), tensor([[1]]), null, untyped({ act: 'gelu' }))],
  ['causalAttention', 'kv_heads', 'kvHeads', () => causalAttention(tensor([1]), untyped({ heads: 1, kv_heads: 1 }))],
  [
    'crossEntropy',
    'ignore_index',
    'ignoreIndex',
    () => crossEntropy(tensor([1]), tensor([1]), untyped({ ignore_index: 1 })),
  ],
  [
    'linearCrossEntropy',
    'ignore',
    'ignoreIndex',
    () => linearCrossEntropy(tensor([1]), tensor([1]), tensor([1]), untyped({ ignore: 1 })),
  ],
  ['Sampler', 'top_k', 'topK', () => new Sampler(untyped({ top_k: 3 }))],
  ['generate', 'max_new_tokens', 'maxNewTokens', () => generate(decoder, [1], untyped({ max_new_tokens: 3 })).next()],
  [
    'generateText',
    'stops',
    'stop',
    () => generateText(decoder, new ByteTokenizer(), 'a', untyped({ stops: ['b'] })).next(),
  ],
  ['tune', 'token', 'tokens', () => tune(model, untyped({ token: [1] }))],
  ['exportOnnx', 'weight', 'weights', () => exportOnnx(model, 'nowhere', untyped({ weight: 'merged' }))],
  [
    'exportHuggingFace',
    'tokenizer',
    'tokenizerFile',
    () => exportHuggingFace(model, 'nowhere', untyped({ tokenizer: 'x' })),
  ],
];

test.each(PLACES)('%s: %s', async (owner, name, nearest, call) => {
  const thrown = await Promise.resolve()
    .then(call)
    .catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(OptionError);
  expect(thrown).toMatchObject({
    code: 'ERR_OPTION',
    message: `${name}: unknown option of ${owner}; did you mean ${nearest}?`,
  });
});

test('a name that is like none gets the list of those there are', () => {
  expect(() => checkKeys('AdamW', untyped({ momentum: 1 }), { lr: 0, betas: 0 })).toThrow(
    'momentum: unknown option of AdamW; known are lr, betas',
  );
});

test('what every object has is no option', () => {
  expect(() => checkKeys('AdamW', untyped({ toString: 1 }), { lr: 0 })).toThrow('toString: unknown option');
});

test.each([[null], [3], ['lr'], [[]]])('%p is no object of options', (value) => {
  expect(() => checkKeys('AdamW', value as never, { lr: 0 })).toThrow('AdamW: expected an object of options');
});
