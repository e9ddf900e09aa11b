/** For devices.test.ts: the second of two devices does what the first does. Prints what is wrong, as JSON. */
import assert from 'node:assert/strict';
import {
  add,
  availableDevices,
  type Device,
  DeviceError,
  memoryStats,
  noGrad,
  OutOfMemoryError,
  RecordedStep,
  RecordingError,
  setCudaDevice,
  square,
  sum,
  svd,
  synchronize,
  tensor,
  tidy,
  zeros,
} from '../../lib';
import { Decoder } from '../../lib/decode';
import { asyncKernels, kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { TransformerLM } from '../../lib/nn';
import { AdamW } from '../../lib/optim';
import { Generator } from '../../lib/random';
import { withSpareMemory } from '../support/garbage';

const [FIRST, SECOND] = ['cuda', 'cuda:1'] as const;
const BOTH = [FIRST, SECOND];
const values = Float32Array.from({ length: 3000 }, (_, i) => i - 7.5);
const MODEL = {
  dModel: 32,
  nLayers: 2,
  nHeads: 2,
  vocabSize: 50,
  seqLen: 16,
  ffn: { structure: 'lowrank', ratio: 0.5 },
} as const;

/** Losses of a few steps, and the first weight after them. */
function train(device: Device, recorded: boolean): { losses: number[]; weight: Float32Array } {
  const model = new TransformerLM(MODEL).to(device);
  const optimizer = new AdamW(model.namedParameters(), { lr: 0.01 });
  const ids = tensor(
    Int32Array.from({ length: 16 }, (_, i) => (i * 7) % 50),
    [1, 16],
    { device },
  );
  const pass = () => {
    const loss = model.loss(ids, ids);
    loss.backward();
    optimizer.applyStep({ maxGradNorm: 1 });
    optimizer.zeroGrad();
    return [loss];
  };
  using step = new RecordedStep(pass, device);
  const losses = Array.from({ length: 4 }, () => {
    optimizer.prepareStep({ lr: 0.01 });
    return tidy(() => (recorded ? step.run() : pass())[0]!.item());
  });
  return { losses, weight: model.embedding.weight.toArray() as Float32Array };
}

async function decode(device: Device): Promise<Float32Array[]> {
  const model = new TransformerLM(MODEL).to(device).eval();
  for (const parameter of model.namedParameters().values())
    tidy(() => parameter.copyFrom(new Generator(parameter.size).normal(parameter.shape, 0, 0.05)));
  using decoder = new Decoder(model);
  using sequence = decoder.sequence();
  const logits: Float32Array[] = [await decoder.prefill(sequence, [1, 2, 3, 4, 5])];
  for (const id of [7, 9, 11, 13]) logits.push((await decoder.step([{ sequence, ids: [id] }]))[0]!.slice());
  return logits;
}

const checks: Record<string, () => unknown> = {
  'names of devices': () => {
    assert.deepEqual(availableDevices(), ['cpu', FIRST, SECOND]);
    assert.equal(zeros([1], { device: 'cuda:0' }).device, FIRST);
    assert.equal(zeros([1], { device: SECOND }).to('cuda:1').device, SECOND);
    assert.throws(() => zeros([1], { device: 'cuda:2' }), DeviceError);
  },
  'the default one stays what it is': () => {
    assert.throws(() => setCudaDevice(1), DeviceError);
    setCudaDevice(0);
  },
  'copies between them': () => {
    const there = tensor(values).to(FIRST).to(SECOND);
    assert.equal(there.device, SECOND);
    assert.deepEqual(there.to('cpu').toArray(), values);
    const back = square(there).to(FIRST);
    assert.deepEqual(
      add(back, there.to(FIRST)).toArray(),
      values.map((v) => Math.fround(v * v) + v),
    );
    assert.deepEqual(zeros([3000], { device: FIRST }).copyFrom(there).toArray(), values);
    assert.deepEqual(zeros([0], { device: FIRST }).to(SECOND).toArray(), new Float32Array(0));
  },
  'a copy comes after what computes its source, and before what follows in its memory': () => {
    for (let round = 0; round < 5; round++)
      tidy(() => {
        const there = tidy(() => add(tensor(values).to(FIRST), tensor(values).to(FIRST)).to(SECOND));
        zeros([3000], { device: FIRST });
        assert.deepEqual(
          there.toArray(),
          values.map((v) => 2 * v),
        );
      });
  },
  'gradients cross': () => {
    const x = tensor([1, 2], undefined, { requiresGrad: true });
    sum(square(x.to(FIRST).to(SECOND))).backward();
    assert.deepEqual([x.grad!.device, ...x.grad!.toArray()], ['cpu', 2, 4]);
  },
  'mixed operands are refused': async () => {
    const [a, b] = BOTH.map((device) => zeros([4], { device }));
    const message = "add: operands on 'cuda' and 'cuda:1'; move one with .to(device)";
    assert.throws(() => add(a!, b!), { name: 'DeviceError', message });
    const refused = { code: 'ERR_DEVICE', message: "copy: operands on 'cuda' and on 'cuda:1'" };
    assert.throws(() => kernels.copy({ x: a!, y: b! }), refused);
    await assert.rejects(asyncKernels.copy({ x: a!, y: b! }), refused);
  },
  'memory is counted for each': async () => {
    const before = BOTH.map((device) => memoryStats(device).allocated);
    const x = zeros([100_000], { device: SECOND });
    const after = BOTH.map((device) => memoryStats(device).allocated);
    assert.equal(after[0], before[0]);
    assert.ok(after[1]! - before[1]! >= 400_000);
    x.dispose();
    assert.deepEqual(
      BOTH.map((device) => memoryStats(device).allocated),
      before,
    );
    await withSpareMemory(10_000, SECOND, () => {
      assert.throws(() => zeros([100_000], { device: SECOND }), OutOfMemoryError);
      zeros([100_000], { device: FIRST });
    });
    zeros([100_000], { device: SECOND });
  },
  'a fault of one is no fault of the other': () => {
    const table = zeros([3, 2], { device: SECOND });
    kernels.embedding_forward({
      ids: tensor(Int32Array.of(7), undefined, { device: SECOND }),
      table,
      y: zeros([1, 2], { device: SECOND }),
      n: 1,
      rows: 3,
      features: 2,
    });
    synchronize(FIRST);
    assert.throws(() => synchronize(SECOND), { code: 'ERR_RANGE' });
    synchronize(SECOND);
  },
  'kernels of the host': () => {
    const a = new Generator(1).normal([5, 3]);
    const [here, there] = [svd(a), svd(a.to(SECOND))];
    assert.equal(there.u.device, SECOND);
    for (const name of ['u', 's', 'vt'] as const) assert.deepEqual(there[name].toArray(), here[name].toArray());
  },
  'settings are of one device, TF32 of all': () => {
    const [first, second] = [1, 1 + 256 * 2];
    const before = native.settings(first);
    native.setSettings(second, { latency: 7, tf32: 'on' });
    assert.deepEqual(native.settings(first), { ...before, tf32: 'on' });
    assert.deepEqual(native.settings(second), { ...before, latency: 7, tf32: 'on' });
    native.setSettings(second, before);
  },
  'training has the same bits': () => {
    const first = train(FIRST, false);
    assert.ok(first.losses[3]! < first.losses[0]!);
    assert.deepEqual(train(SECOND, false), first);
    assert.deepEqual(train(SECOND, true), first);
    assert.deepEqual(train(FIRST, true), first);
  },
  'decoding has the same bits, and both go on side by side': async () => {
    const [first, second] = await Promise.all(BOTH.map(decode));
    assert.deepEqual(second, first);
    assert.ok(first![0]!.some((value) => value !== 0));
  },
  'a recording is of one device': () => {
    const [a, b] = BOTH.map((device) => tensor([3, 4], undefined, { device }));
    const refused = (body: () => void) => {
      let runs = 0;
      using step = new RecordedStep(() => {
        if (++runs === 2) body();
        return [square(b!)];
      }, SECOND);
      step.run();
      assert.throws(() => step.run(), RecordingError);
      assert.deepEqual(Array.from(step.run()[0]!.toArray()), [9, 16]);
    };
    refused(() => square(a!));
    refused(() => a!.copyFrom(b!));
    refused(() => a!.toArray());
    refused(() => synchronize(FIRST));
    tidy(() => noGrad(() => assert.deepEqual(Array.from(square(a!).toArray()), [9, 16])));
    assert.throws(() => new RecordedStep(() => [], 'cpu'), { name: 'OptionError' });
  },
};

async function main(): Promise<void> {
  const wrong: string[] = [];
  for (const [name, check] of Object.entries(checks))
    try {
      await check();
    } catch (error) {
      wrong.push(`${name}: ${(error as Error).stack}`);
    }
  console.log(JSON.stringify(wrong));
}
void main();
