/** What is refused before the first step, by its name. */
import { cpSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FileError, FormatError, OptionError } from '../../lib';
import { loadSafetensors, saveSafetensors, type TensorData } from '../../lib/io';
import { lock } from '../../lib/io/lock';
import {
  countParameters,
  Guidance,
  resolveConfig,
  STRUCTURE_NAMES,
  type TransformerConfig,
  TransformerLM,
} from '../../lib/nn';
import { loadModel, type TrainEvent, Trainer, train } from '../../lib/train';
import { checkMemory } from '../../lib/train/checks';
import { CONFIG, folder, take, writeTokenFile } from './support';

const { model } = CONFIG;
const good = join(folder, 'good');
const bad = join(folder, 'bad');

beforeAll(async () => {
  using trainer = new Trainer({ ...CONFIG, guidance: { part: 0.9 } });
  await take(trainer, 2);
  trainer.save(good);
});

/** A copy of the good checkpoint, without a manifest, that the test spoils. */
function spoil(change: () => void): void {
  rmSync(bad, { recursive: true, force: true });
  cpSync(good, bad, { recursive: true });
  rmSync(join(bad, 'manifest.json'));
  change();
}

function editJson(name: string, edit: (json: never) => void): void {
  const file = join(bad, name);
  const json = JSON.parse(readFileSync(file, 'utf8'));
  edit(json as never);
  writeFileSync(file, JSON.stringify(json));
}

test('parameters are counted as they are made', () => {
  const variants: Partial<TransformerConfig>[] = [
    {},
    { activation: 'swiglu', bias: false, norm: 'rms' },
    { nKvHeads: 1, qkNorm: true, headSize: 6, tieEmbeddings: false },
    { learnedPositions: true, qkvBias: false, firstFfnDense: false, dFF: 48 },
    { bias: false, outBias: true, nLayers: 1 },
  ];
  for (const variant of variants)
    for (const structure of STRUCTURE_NAMES)
      for (const guided of [false, true]) {
        const ffn = structure === 'dense' ? { structure } : { structure, ratio: 0.5 };
        const config: TransformerConfig = { ...model, nLayers: 3, ...variant, ffn };
        const made = new TransformerLM(config, {
          guidance: guided ? new Guidance({ steps: 3 }) : undefined,
          init: 'normal',
        });
        const { total, guides } = countParameters(config);
        expect([config, total + (guided ? guides : 0)]).toEqual([config, made.numParameters()]);
        made.dispose();
      }
});

describe('configs of models that no file holds', () => {
  test.each<[string, object]>([
    ['layers', { nLayers: 1e7 }],
    ['ids', { vocabSize: 1e7 }],
    ['width', { dModel: 2e7 }],
    ['hidden width', { dFF: 1e9 }],
    ['heads', { nHeads: 1e8, headSize: 2, attnDim: undefined }],
  ])('%s are refused before anything is allocated', (_, change) => {
    spoil(() =>
      editJson('config.json', (json: { model: object }) => {
        Object.assign(json.model, change);
      }),
    );
    const before = process.memoryUsage().rss;
    expect(() => loadModel(bad)).toThrow(FormatError);
    expect(() => loadModel(bad)).toThrow('has more parameters than');
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
  });
});

describe('memory', () => {
  const gigabyte = 1e9;
  test.each<[string, object, string]>([
    ['a batch', { batchSize: 1e9 }, 'a smaller batchSize with more gradientAccumulation'],
    ['layers', { model: { ...model, nLayers: 1e8 } }, 'a smaller model'],
    ['ids', { model: { ...model, vocabSize: 1e8 } }, 'a smaller model'],
    ['width', { model: { ...model, dModel: 1e8 } }, 'a smaller model'],
  ])('too many or too much of %s is refused, with what would need less', (_, change, advice) => {
    expect(() => checkMemory({ ...CONFIG, ...change }, gigabyte)).toThrow(OptionError);
    expect(() => checkMemory({ ...CONFIG, ...change }, gigabyte)).toThrow(advice);
    expect(() => checkMemory({ ...CONFIG, ...change }, gigabyte)).toThrow('this machine has 1 GB');
  });

  test('what fits is not', () => {
    checkMemory(CONFIG, gigabyte);
    const parameters = countParameters(resolveConfig(model)).total;
    expect(() => checkMemory(CONFIG, 12 * parameters)).toThrow('needs at least');
  });

  test('a trainer looks first', () => {
    expect(() => new Trainer({ ...CONFIG, batchSize: 1e12 })).toThrow('needs at least');
  });
});

test.each<[string, (state: never) => void, string]>([
  ['half a step', (state: { step: number }) => Object.assign(state, { step: 2.5 }), 'step is 2.5'],
  ['a step below zero', (state: { step: number }) => Object.assign(state, { step: -1 }), 'step is -1'],
  ['a step that is a text', (state: { step: number }) => Object.assign(state, { step: '2' }), 'step is "2"'],
  ['a step beyond the end', (state: { step: number }) => Object.assign(state, { step: 7 }), 'from 0 to 6'],
  ['updates', (state: object) => Object.assign(state, { optimizerSteps: null }), 'optimizerSteps is null'],
  ['a row', (state: { loader: object }) => Object.assign(state.loader, { row: -3 }), 'loader.row is -3'],
  [
    'a generator',
    (state: { loader: object }) => Object.assign(state.loader, { generator: {} }),
    'loader.generator.seed',
  ],
  ['a guide', (state: { guidance: object }) => Object.assign(state.guidance, { step: 0.5 }), 'guidance.step is 0.5'],
  ['no guide', (state: object) => Object.assign(state, { guidance: null }), 'guide'],
  [
    'a place of tokens',
    (state: { data: object }) => Object.assign(state.data, { beside: { train: 7 } }),
    'data.beside.train is 7',
  ],
])('trainer.json with a wrong value of %s is refused', (_, edit, message) => {
  spoil(() => editJson('trainer.json', edit));
  expect(() => Trainer.resume(bad)).toThrow(FormatError);
  expect(() => Trainer.resume(bad)).toThrow(join(bad, 'trainer.json'));
  expect(() => Trainer.resume(bad)).toThrow(message);
});

test.each<[string, string, (of: TensorData) => TensorData, string]>([
  [
    'of a transposed shape',
    'blocks.0.ffn.fc1.weight.exp_avg',
    ({ shape, data }) => ({ shape: [...shape].reverse(), data }),
    'is [16, 64]; its parameter is [64, 16]',
  ],
  [
    'with a mean of squares below zero',
    'norm.weight.exp_avg_sq',
    ({ shape, data }) => ({ shape, data: data.map((x, i) => (i === 3 ? -1e-3 : x)) }),
    'element 3 is -0.001',
  ],
  ['with a count below zero', 'norm.weight.step', ({ shape }) => ({ shape, data: Int32Array.of(-1) }), 'is -1'],
])('an optimizer state %s is refused', (_, name, change, message) => {
  spoil(() => {
    const file = join(bad, 'optimizer.safetensors');
    const { tensors } = loadSafetensors(file);
    saveSafetensors(
      file,
      [...tensors].map(([own, tensor]) => [own, own === name ? change(tensor) : tensor]),
    );
  });
  expect(() => Trainer.resume(bad)).toThrow(`'${name}'`);
  expect(() => Trainer.resume(bad)).toThrow(message);
});

test('a run goes on with its own tokens only, not with others of the same length', async () => {
  const data = { ...CONFIG.data, train: writeTokenFile('own.bin', 2000, 8) };
  const place = join(folder, 'own');
  {
    using trainer = new Trainer({ ...CONFIG, data });
    await take(trainer, 1);
    trainer.save(place);
  }
  Trainer.resume(place)[Symbol.dispose]();
  writeTokenFile('own.bin', 2000, 9);
  expect(() => Trainer.resume(place)).toThrow(`${data.train}: its tokens differ from those at the start of the run`);
  writeTokenFile('own.bin', 2000, 8);
  Trainer.resume(place)[Symbol.dispose]();
});

describe('tokens beside the checkpoint', () => {
  const run = join(folder, 'a-run');
  const moved = join(folder, 'a-moved-run');
  beforeAll(async () => {
    const data = { ...CONFIG.data, train: join(run, 'train.bin') };
    mkdirSync(run);
    cpSync(CONFIG.data.train, data.train);
    using trainer = new Trainer({ ...CONFIG, data });
    await take(trainer, 1);
    trainer.save(join(run, 'checkpoint'));
  });
  const trainFile = (checkpoint: string): string => {
    using trainer = Trainer.resume(checkpoint);
    expect(trainer.config.data.validation).toBe(CONFIG.data.validation);
    return trainer.config.data.train;
  };

  test('go with it, and are checked', () => {
    cpSync(run, moved, { recursive: true });
    expect(trainFile(join(moved, 'checkpoint'))).toBe(join(moved, 'train.bin'));
    cpSync(CONFIG.data.validation!, join(moved, 'train.bin'));
    expect(() => trainFile(join(moved, 'checkpoint'))).toThrow(`${join(moved, 'train.bin')}: its tokens differ`);
  });

  test('stay where they are when it goes alone', () => {
    const alone = join(folder, 'alone', 'checkpoint');
    cpSync(join(run, 'checkpoint'), alone, { recursive: true });
    expect(trainFile(alone)).toBe(join(run, 'train.bin'));
  });

  test('are where the config says in a checkpoint of older releases', () => {
    const older = join(folder, 'older', 'checkpoint');
    cpSync(join(run, 'checkpoint'), older, { recursive: true });
    rmSync(join(older, 'manifest.json'));
    const file = join(older, 'trainer.json');
    const { data, ...state } = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...state, data: { tokens: data.tokens, crc32: data.crc32 } }));
    expect(trainFile(older)).toBe(join(run, 'train.bin'));
  });
});

test('a tokenizer that is deleted and another working folder change nothing for a run under way', async () => {
  const tokenizer = join(folder, 'tokenizer.json');
  writeFileSync(tokenizer, '{"a": 1}');
  const cwd = process.cwd();
  process.chdir(folder);
  const data = { ...CONFIG.data, train: 'train.bin', validation: 'validation.bin' };
  const checkpoint = 'relative';
  try {
    for await (const event of train({ config: { ...CONFIG, data, tokenizer: 'tokenizer.json', checkpoint } }))
      if (event.type === 'step' && event.step === 2) {
        process.chdir('/');
        rmSync(tokenizer);
      }
  } finally {
    process.chdir(cwd);
  }
  const place = join(folder, checkpoint);
  expect(readFileSync(join(place, 'tokenizer.json'), 'utf8')).toBe('{"a": 1}');
  using resumed = Trainer.resume(place);
  expect(resumed.finished).toBe(true);
});

describe('the place of the checkpoint', () => {
  const collect = async (events: AsyncIterable<TrainEvent>): Promise<TrainEvent[]> => {
    const all: TrainEvent[] = [];
    for await (const event of events) all.push(event);
    return all;
  };

  test('is tried before the first step', async () => {
    const file = join(folder, 'a-file');
    writeFileSync(file, '');
    for (const checkpoint of [file, join(file, 'below'), folder])
      await expect(collect(train({ config: { ...CONFIG, checkpoint } }))).rejects.toThrow(FileError);
  });

  test('belongs to one run at a time', async () => {
    const checkpoint = join(folder, 'shared');
    using _ = lock(checkpoint, 0, `${checkpoint}.run`);
    const second = collect(train({ config: { ...CONFIG, checkpoint } }));
    await expect(second).rejects.toThrow(`process ${process.pid} is using it`);
  });

  test('that is gone at the end is told, and another takes the checkpoint', async () => {
    const checkpoint = join(folder, 'gone', 'checkpoint');
    const events: TrainEvent[] = [];
    for await (const event of train({ config: { ...CONFIG, checkpoint, saveEvery: 4 } })) {
      events.push(event);
      if (event.type === 'step' && event.step === 3) {
        renameSync(join(folder, 'gone'), join(folder, 'away'));
        writeFileSync(join(folder, 'gone'), 'in the way');
      }
    }
    const told = events.filter(({ type }) => type === 'warning' || type === 'checkpoint');
    expect(told.map(({ type }) => type)).toEqual(['warning', 'warning', 'checkpoint']);
    expect(told[0]).toMatchObject({
      step: 4,
      message: expect.stringContaining('the checkpoint before this one stays'),
    });
    const [, { message }, { folder: place }] = told as unknown as [unknown, { message: string }, { folder: string }];
    expect(message).toContain(`saved to ${place} instead`);
    expect(events.at(-1)).toMatchObject({ type: 'end', reason: 'finished' });
    using saved = Trainer.resume(place);
    expect(saved.step).toBe(6);
    rmSync(join(place, '..'), { recursive: true });
  });

  test('of a run that goes on is where it was resumed from', async () => {
    const from = join(folder, 'from');
    const copy = join(folder, 'copy');
    {
      using trainer = new Trainer({ ...CONFIG, checkpoint: from });
      await take(trainer, 2);
      trainer.save(from);
    }
    cpSync(from, copy, { recursive: true });
    await collect(train({ resume: copy }));
    const stepOf = (place: string) => JSON.parse(readFileSync(join(place, 'trainer.json'), 'utf8')).step;
    expect([stepOf(from), stepOf(copy)]).toEqual([2, 6]);
  });
});

const onLinux = process.platform === 'linux' ? test : test.skip;
onLinux('a trainer that is refused leaves no file open', () => {
  const { train: tokens, validation } = CONFIG.data;
  const open = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return [tokens, validation].includes(readlinkSync(`/proc/self/fd/${fd}`));
      } catch {
        return false; // that of the folder itself
      }
    });
  const optimizer = () => {
    throw new OptionError('mine', 'nothing', 'this');
  };
  expect(() => new Trainer(CONFIG, { optimizer })).toThrow('mine');
  const missing = join(folder, 'missing.bin');
  expect(() => new Trainer({ ...CONFIG, data: { ...CONFIG.data, validation: missing } })).toThrow(FileError);
  expect(open()).toEqual([]);
});

test('too little to evaluate on is refused before the first step', () => {
  const validation = writeTokenFile('little.bin', 16, 4);
  expect(() => new Trainer({ ...CONFIG, data: { ...CONFIG.data, validation } })).toThrow(
    `${validation}: 16 tokens are too few to evaluate on: one row takes 17`,
  );
});
