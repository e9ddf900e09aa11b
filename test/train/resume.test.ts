/** A run that was stopped and went on is, to the last bit, the run that was not stopped. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { STRUCTURE_NAMES } from '../../lib/nn';
import { loadModel, type TrainConfig, Trainer } from '../../lib/train';
import { CONFIG, folder, take, weightsOf } from './support';

const { model } = CONFIG;

const CASES: [string, TrainConfig][] = [
  ['without a guide', CONFIG],
  ['guided, stopped before the hand-over', { ...CONFIG, guidance: { part: 0.8, form: 'published' } }],
  ['guided, stopped at the hand-over', { ...CONFIG, guidance: { part: 0.5, form: 'unbiased' } }],
  ['guided, stopped after the hand-over', { ...CONFIG, guidance: { part: 0.34, form: 'mixed', schedule: 'linear' } }],
  ['with repeats at the end', { ...CONFIG, guidance: { protocol: 'fixed-flop', part: 0.5 } }],
  ['sequential', { ...CONFIG, data: { ...CONFIG.data, order: 'sequential' } }],
  ['shuffled', { ...CONFIG, data: { ...CONFIG.data, order: 'shuffled' } }],
  ['with several passes a step', { ...CONFIG, gradientAccumulation: 2, guidance: {} }],
  ['in bfloat16', { ...CONFIG, precision: 'bfloat16', gradientAccumulation: 2, guidance: { part: 0.5 } }],
  ['in bfloat16 with Muon', { ...CONFIG, precision: 'bfloat16', optimizer: { name: 'muon' } }],
  ['with Muon', { ...CONFIG, optimizer: { name: 'muon' }, guidance: { part: 0.34 } }],
  [
    'with Muon, several passes, stopped before the hand-over',
    { ...CONFIG, optimizer: { name: 'muon', nesterov: false }, gradientAccumulation: 2, guidance: { part: 0.8 } },
  ],
  ...STRUCTURE_NAMES.map((structure): [string, TrainConfig] => [
    structure,
    { ...CONFIG, model: { ...model, ffn: structure === 'dense' ? { structure } : { structure, ratio: 0.5 } } },
  ]),
];

test.each(CASES)('%s', async (name, config) => {
  using whole = new Trainer(config);
  const expected = await take(whole);

  const path = join(folder, name);
  const first = new Trainer(config);
  const before = await take(first, 3);
  first.save(path);
  first[Symbol.dispose]();
  using second = Trainer.resume(path);
  expect(second.step).toBe(3);
  const after = await take(second);

  expect([...before, ...after]).toEqual(expected);
  expect(weightsOf(second)).toEqual(weightsOf(whole));
  expect(await second.evaluate()).toEqual(await whole.evaluate());
});

test('a checkpoint has the sizes of its weights, whatever its ratio would choose today', async () => {
  const path = join(folder, 'ratio');
  const ffn = { structure: 'lowrank', rank: 6 } as const;
  using first = new Trainer({ ...CONFIG, model: { ...model, ffn } });
  await take(first, 3);
  first.save(path);
  // As a release without a manifest wrote it.
  rmSync(join(path, 'manifest.json'));
  for (const name of ['config.json', 'trainer.json']) {
    const file = join(path, name);
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"rank": *6/, '"ratio": 0.1'));
  }
  const { model: loaded } = loadModel(path);
  expect(loaded.config.ffn).toEqual({ structure: 'lowrank', fc1: { rank: 6 }, fc2: { rank: 6 } });
  using resumed = Trainer.resume(path);
  using started = new Trainer({ ...resumed.config, init: path });
  expect(weightsOf(resumed)).toEqual(weightsOf(first));
  expect(weightsOf(started)).toEqual(weightsOf(first));
  expect(await take(resumed)).toEqual(await take(first));
});

test('the two halves of a run differ in what they see', async () => {
  using trainer = new Trainer(CONFIG);
  const losses = (await take(trainer)).map(({ loss }) => loss);
  expect(new Set(losses).size).toBe(losses.length);
});
