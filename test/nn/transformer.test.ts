import { Generator, linearCrossEntropy, memoryStats, noGrad, OptionError, ShapeError, tensor, tidy } from '../../lib';
import { getNumThreads, setNumThreads } from '../../lib/device';
import {
  Guidance,
  presetConfig,
  releaseGuides,
  STRUCTURE_NAMES,
  type TransformerConfig,
  TransformerLM,
} from '../../lib/nn';
import { AdamW } from '../../lib/optim';
import { relativeError } from '../support/check_op';
import { allocatedWithoutGarbage } from '../support/garbage';
import { TestRandom } from '../support/random';

beforeEach(() => allocatedWithoutGarbage());

const config: TransformerConfig = {
  vocabSize: 31,
  dModel: 32,
  nLayers: 2,
  nHeads: 4,
  nKvHeads: 2,
  seqLen: 16,
  ffn: { structure: 'lowrank', rank: 8 },
};

function batch(seed = 1): { ids: ReturnType<typeof tensor>; targets: ReturnType<typeof tensor> } {
  const random = new TestRandom(seed);
  const tokens = Int32Array.from({ length: 3 * 17 }, () => random.int(0, 30));
  const rows = (offset: number) =>
    Int32Array.from({ length: 48 }, (_, i) => tokens[Math.floor(i / 16) * 17 + (i % 16) + offset]!);
  return { ids: tensor(rows(0), [3, 16]), targets: tensor(rows(1), [3, 16]) };
}

function trainSteps(model: TransformerLM, steps: number, guidance?: Guidance): number[] {
  const optimizer = new AdamW(model.namedParameters(), { weightDecay: 0 });
  const { ids, targets } = batch();
  const losses = Array.from({ length: steps }, () =>
    tidy(() => {
      const loss = model.loss(ids, targets);
      loss.backward(null, { releaseGraph: true });
      optimizer.step({ lr: 5e-3, maxGradNorm: 1 });
      optimizer.zeroGrad();
      if (guidance && !guidance.finished && guidance.advance()) optimizer.remove(releaseGuides(model));
      return loss.item();
    }),
  );
  optimizer.dispose();
  return losses;
}

test('parameters have the documented names', () => {
  const names = [...new TransformerLM(config).namedParameters().keys()];
  expect(names.slice(0, 13)).toEqual([
    'embedding.weight',
    'blocks.0.norm1.weight',
    'blocks.0.norm1.bias',
    'blocks.0.attention.qkv.weight',
    'blocks.0.attention.qkv.bias',
    'blocks.0.attention.out.weight',
    'blocks.0.attention.out.bias',
    'blocks.0.norm2.weight',
    'blocks.0.norm2.bias',
    'blocks.0.ffn.fc1.weight',
    'blocks.0.ffn.fc1.bias',
    'blocks.0.ffn.fc2.weight',
    'blocks.0.ffn.fc2.bias',
  ]);
  expect(names).toContain('blocks.1.ffn.fc1.v');
  expect(names.slice(-2)).toEqual(['norm.weight', 'norm.bias']);
});

test('the loss is that of the logits', () => {
  const model = new TransformerLM(config);
  const { ids, targets } = batch();
  const [fused, logits] = noGrad(() => [model.loss(ids, targets).item(), model.forward(ids)]);
  const identity = tensor(
    Float32Array.from({ length: 31 * 31 }, (_, i) => Number(i % 32 === 0)),
    [31, 31],
  );
  expect(fused).toBeCloseTo(noGrad(() => linearCrossEntropy(logits, identity, targets)).item(), 5);
  expect(fused).toBeCloseTo(Math.log(31), 1);
});

test('a shorter context gives the same logits for the tokens it has', () => {
  const model = new TransformerLM(config);
  const { ids } = batch();
  const [long, short] = noGrad(() => [
    model.forward(ids).data.slice(0, 5 * 31),
    model.forward(tensor(ids.data.slice(0, 5) as Int32Array, [1, 5])).data,
  ]);
  expect(relativeError(short, long)).toBeLessThan(1e-5);
});

describe.each(STRUCTURE_NAMES)('%s', (structure) => {
  const ffn = structure === 'dense' ? { structure } : { structure, ratio: 0.5 };

  test.each(['gelu', 'swiglu'] as const)('learns a small text by heart with %s', (activation) => {
    const model = new TransformerLM({ ...config, activation, ffn, firstFfnDense: false });
    const losses = trainSteps(model, 150);
    expect(losses[0]).toBeGreaterThan(3);
    expect(losses.at(-1)).toBeLessThan(0.05);
    model.dispose();
  });

  if (structure !== 'dense')
    test.each(['published', 'unbiased', 'mixed'] as const)(
      'learns it with a guide, form %s, through the hand-over',
      (form) => {
        const guidance = new Guidance({ steps: 60, form });
        const model = new TransformerLM({ ...config, ffn }, { guidance });
        expect(trainSteps(model, 150, guidance).at(-1)).toBeLessThan(0.05);
        expect([...model.namedParameters().keys()].some((name) => name.endsWith('guide'))).toBe(false);
        model.dispose();
      },
    );
});

test('RMSNorm, no biases, wider attention and no rotary positions train too', () => {
  const model = new TransformerLM({ ...config, norm: 'rms', bias: false, attnDim: 48, ropeBase: 0 });
  expect([...model.namedParameters().keys()].filter((name) => name.endsWith('bias'))).toEqual([]);
  expect(trainSteps(model, 60).at(-1)).toBeLessThan(1);
});

test('gradients of the whole model are those of its loss', () => {
  const model = new TransformerLM(
    {
      ...config,
      dModel: 8,
      nHeads: 2,
      nKvHeads: 1,
      activation: 'swiglu',
      ffn: { structure: 'blockshuffle', nblocks: 2 },
      firstFfnDense: false,
    },
    { guidance: new Guidance({ steps: 5, form: 'mixed' }), generator: new Generator(2) },
  );
  // Larger weights than the usual ones, so that no gradient drowns in rounding.
  const random = new TestRandom(8);
  for (const [name, { data }] of model.namedParameters())
    if (!name.includes('norm')) data.set(random.array(data.length, -0.4, 0.4));
  const { ids, targets } = batch();
  const loss = () => noGrad(() => tidy(() => model.loss(ids, targets).item()));
  tidy(() => model.loss(ids, targets).backward());
  for (const [name, { data, grad }] of model.namedParameters()) {
    const direction = Array.from(grad!.data);
    const norm = Math.sqrt(direction.reduce((sum, d) => sum + d * d, 0));
    if (norm < 1e-4) continue;
    const before = data.slice();
    const step = 0.02 / Math.max(1, norm);
    const move = (sign: number) => {
      data.forEach((_, i) => {
        data[i] = before[i]! + (sign * step * direction[i]!) / norm;
      });
      return loss();
    };
    const slope = (move(1) - move(-1)) / (2 * step);
    data.set(before);
    expect([name, Math.abs(slope / norm - 1) < 0.02 || slope / norm]).toEqual([name, true]);
  }
});

test('memory is constant over a thousand steps', () => {
  const model = new TransformerLM({
    ...config,
    dModel: 8,
    nLayers: 1,
    firstFfnDense: false,
    ffn: { structure: 'lowrank', rank: 2 },
  });
  const optimizer = new AdamW(model.namedParameters());
  const { ids, targets } = batch();
  const step = () =>
    tidy(() => {
      model.loss(ids, targets).backward(null, { releaseGraph: true });
      optimizer.step({ lr: 1e-3, maxGradNorm: 1 });
      optimizer.zeroGrad();
    });
  // How many threads hold scratch at the same moment is chance; one thread leaves none.
  const threads = getNumThreads();
  setNumThreads(1);
  for (let i = 0; i < 10; i++) step();
  const { allocated, systemAllocations } = memoryStats();
  for (let i = 0; i < 1000; i++) step();
  setNumThreads(threads);
  expect(memoryStats().allocated).toBe(allocated);
  expect(memoryStats().systemAllocations).toBe(systemAllocations);
});

test('the presets have the parameters that the paper names', () => {
  // Counted from the config, not built: the large ones do not fit a test.
  const dense = ({ vocabSize, dModel: d, nLayers }: TransformerConfig) =>
    vocabSize * d + nLayers * (12 * d * d + 13 * d) + 2 * d;
  const millions = (['s', 'm', 'l', 'xl'] as const).map((name) => Math.round(dense(presetConfig(name)) / 1e6));
  expect(millions).toEqual([110, 335, 729, 1274]);
});

test('flops and parameters are counted from the layers', () => {
  const model = new TransformerLM(config);
  const { ffn, attention, head, total, dense } = model.flopsPerToken();
  expect(total).toBe(ffn + attention + head);
  expect(head).toBe(2 * 31 * 32);
  expect(ffn).toBe(2 * (2 * 32 * 128 + 2 * (32 + 128) * 8));
  expect(dense - total).toBe(2 * (2 * 32 * 128 - 2 * (32 + 128) * 8));
  expect(model.ffnParameters().dense).toBe(2 * (2 * 32 * 128 + 160));
});

test('what makes no model is refused by name', () => {
  expect(() => new TransformerLM({ ...config, nHeads: 5 })).toThrow(
    'attention: nHeads: expected a divisor of attnDim (32)',
  );
  expect(() => new TransformerLM({ ...config, vocabSize: Number.NaN })).toThrow('config: vocabSize');
  expect(() => new TransformerLM({ ...config, ffn: { structure: 'lowrank', rank: 64 } })).toThrow(OptionError);
  // @ts-expect-error what an untyped caller may do
  expect(() => new TransformerLM({ ...config, ffn: { structure: 'sparse' } })).toThrow(
    'ffn.structure: expected one of',
  );
  // @ts-expect-error what a config.json may hold
  expect(() => new TransformerLM({ ...config, ffn: null })).toThrow('config: ffn: expected an object, got null');
  // @ts-expect-error what a config.json may hold
  expect(() => new TransformerLM({ ...config, bias: 'false' })).toThrow('config: bias: expected true or false');
  const model = new TransformerLM(config);
  expect(() => model.forward(tensor(new Int32Array(17), [1, 17]))).toThrow(ShapeError);
  expect(() => model.forward(tensor(new Int32Array(0), [0, 4]))).toThrow(ShapeError);
  expect(() => model.forward(tensor([[1, 2]]))).toThrow('expected a int32 tensor');
});
