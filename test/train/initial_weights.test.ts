/** `init`: weights of a checkpoint, in the structure that they have or in another. */
import { join } from 'node:path';
import { memoryStats, OptionError } from '../../lib';
import { saveCheckpoint } from '../../lib/io';
import type { TransformerLM } from '../../lib/nn';
import { loadModel, type TrainConfig, Trainer } from '../../lib/train';
import { logitsOf, randomIds, randomModel } from '../export/random_model';
import { relativeError } from '../support/check_op';
import { allocatedWithoutGarbage } from '../support/garbage';
import { SMALL_FFN } from '../support/structures';
import { CONFIG, folder, take, weightsOf } from './support';

beforeEach(() => allocatedWithoutGarbage());

const MODEL = { ...CONFIG.model, dModel: 24, nHeads: 2 };
const DENSE = { ...MODEL, ffn: { structure: 'dense' } } as const;
const ids = randomIds(16, MODEL.vocabSize);

let count = 0;

/** A checkpoint of a model; its folder. */
function save(model: TransformerLM): string {
  const path = join(folder, `init-${count++}`);
  saveCheckpoint(path, {
    model: new Map([...model.namedParameters()].map(([name, { shape, data }]) => [name, { shape, data }])),
    config: model.config,
  });
  return path;
}

const started = (model: TrainConfig['model'], init: string, more: Partial<TrainConfig> = {}) =>
  new Trainer({ ...CONFIG, model, init, ...more });

const logits = (model: TransformerLM) => Float32Array.from(logitsOf(model, ids, 1));

describe.each(Object.entries(SMALL_FFN).filter(([name]) => name !== 'dense'))('%s', (_name, ffn) => {
  const config = { ...MODEL, ffn, firstFfnDense: false };
  const structured = randomModel(config);
  const path = save(structured);

  test('becomes dense, and itself again, without a change of what the model computes', () => {
    using dense = started(DENSE, path, { convertInit: true });
    expect([...dense.model.namedParameters().keys()].filter((name) => /\.(u|v)$/.test(name))).toEqual([]);
    expect(relativeError(logits(dense.model.eval()), logits(structured))).toBeLessThan(1e-5);
    using again = started(config, save(dense.model), { convertInit: true });
    expect(relativeError(logits(again.model.eval()), logits(structured))).toBeLessThan(1e-4);
  });

  test('is taken as it is where nothing changes', () => {
    using same = started(config, path, { convertInit: true });
    using plain = started(config, path);
    expect(weightsOf(same)).toEqual(weightsOf(plain));
  });
});

test('the nearest factors of dense layers are nearer than others, and nothing else changes', () => {
  const dense = randomModel(DENSE);
  const path = save(dense);
  const distance = (model: TransformerLM) => {
    const [to, from] = [model, dense].map(({ blocks }) => blocks[1]!.ffn.fc1.merge().toArray());
    return relativeError(to!, from!);
  };
  const distances = [2, 8, 23].map((rank) => {
    using trainer = started({ ...DENSE, ffn: { structure: 'lowrank', rank } }, path, { convertInit: true });
    for (const name of ['embedding.weight', 'blocks.0.ffn.fc1.weight', 'blocks.1.ffn.fc1.bias', 'norm.weight'])
      expect(trainer.model.namedParameters().get(name)!.data).toEqual(dense.namedParameters().get(name)!.data);
    return distance(trainer.model);
  });
  expect(distances[0]).toBeLessThan(1);
  expect(distances[1]).toBeLessThan(distances[0]!);
  expect(distances[2]).toBeLessThan(distances[1]!);
});

test('a checkpoint with guides is converted as it evaluates', async () => {
  using trainer = new Trainer({ ...CONFIG, guidance: {} });
  await take(trainer, 1);
  const path = join(folder, 'guided-init');
  trainer.save(path);
  using dense = started({ ...CONFIG.model, ffn: { structure: 'dense' } }, path, { convertInit: true });
  expect(relativeError(logits(dense.model.eval()), logits(loadModel(path).model))).toBeLessThan(1e-5);
});

test('guides start as the converted factors', () => {
  const path = save(randomModel(DENSE));
  const model = { ...MODEL, ffn: { structure: 'lowrank', rank: 5 } } as const;
  using guided = started(model, path, { convertInit: true, guidance: {} });
  using plain = started(model, path, { convertInit: true });
  expect([...guided.model.namedParameters().keys()].filter((name) => name.endsWith('.guide'))).toHaveLength(2);
  expect(relativeError(logits(guided.model.eval()), logits(plain.model.eval()))).toBeLessThan(1e-5);
});

test('a converted run goes on where it was saved', async () => {
  const path = save(randomModel(DENSE));
  const config = { ...CONFIG, model: { ...MODEL, ffn: { structure: 'lowrank', rank: 5 } } } as const;
  using whole = new Trainer({ ...config, init: path, convertInit: true });
  const reports = await take(whole);
  using cut = new Trainer({ ...config, init: path, convertInit: true });
  const first = await take(cut, 3);
  const saved = join(folder, 'converted');
  cut.save(saved);
  using rest = Trainer.resume(saved);
  expect([...first, ...(await take(rest))]).toEqual(reports);
});

test('nothing stays in memory', () => {
  const path = save(randomModel(DENSE));
  const { allocated } = memoryStats();
  started({ ...MODEL, ffn: { structure: 'lowrank', rank: 5 } }, path, { convertInit: true })[Symbol.dispose]();
  expect(memoryStats().allocated).toBe(allocated);
});

test('factors with an activation between them are no matrix: they are neither made nor converted', () => {
  const inner = { ...MODEL, ffn: { structure: 'lowrank', rank: 5, innerActivation: 'silu' } } as const;
  const wider = { ...inner, ffn: { ...inner.ffn, rank: 6 } };
  const path = save(randomModel(inner));
  expect(() => started(wider, path, { convertInit: true })).toThrow(/innerActivation: expected 'none'/);
  expect(() => started(DENSE, path, { convertInit: true })).toThrow(/innerActivation: expected 'none'/);
  expect(() => started(inner, save(randomModel(DENSE)), { convertInit: true })).toThrow(
    /train: model\.ffn: innerActivation: expected 'none'/,
  );
  using same = started(inner, path, { convertInit: true });
  using plain = started(inner, path);
  expect(weightsOf(same)).toEqual(weightsOf(plain));
});

test.each<[string, Partial<TrainConfig>, RegExp]>([
  ['another structure', {}, /model\.ffn\.structure: expected dense, as init has it \(convertInit/],
  [
    'another width',
    { model: { ...DENSE, dModel: 32 }, convertInit: true },
    /model\.dModel: expected 24, as init has it/,
  ],
  [
    'another depth',
    { model: { ...DENSE, nLayers: 3 }, convertInit: true },
    /model\.nLayers: expected 2, as init has it/,
  ],
  ['a conversion of nothing', { init: undefined, convertInit: true }, /convertInit: expected false without init/],
  ['no flag', { convertInit: 'yes' as never }, /convertInit: expected true or false/],
])('%s is refused by name', (_name, more, message) => {
  const init = save(randomModel(DENSE));
  const start = () => new Trainer({ ...CONFIG, model: MODEL, init, ...more });
  expect(start).toThrow(OptionError);
  expect(start).toThrow(message);
});

test('another ratio is refused by name, and not taken for that of init', () => {
  const init = save(randomModel({ ...MODEL, ffn: { structure: 'lowrank', ratio: 0.63 } }));
  const model = { ...MODEL, ffn: { structure: 'lowrank', ratio: 0.32 } } as const;
  expect(() => started(model, init)).toThrow(/model\.ffn\.ratio: expected 0\.63, as init has it/);
  using converted = started(model, init, { convertInit: true });
  expect(converted.model.blocks[1]!.ffn.layers[0].describe().ratio).toBeCloseTo(0.32, 1);
});
