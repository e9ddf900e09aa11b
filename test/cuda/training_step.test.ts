/** Steps of the trainer on a device: how often they wait for it, and that a recorded one is the same to the last bit. */
import { join } from 'node:path';
import { availableDevices, memoryStats, OptionError } from '../../lib';
import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import type { Optimizer } from '../../lib/optim';
import { type TrainConfig, Trainer } from '../../lib/train';
import { CONFIG, folder, take } from '../train/support';

const { model } = CONFIG;

test('the CPU has nothing to record', () => {
  expect(() => new Trainer({ ...CONFIG, recordSteps: true })).toThrow(OptionError);
  expect(() => new Trainer({ ...CONFIG, recordSteps: true })).toThrow(/recordSteps: expected false on device 'cpu'/);
  expect(() => new Trainer({ ...CONFIG, recordSteps: 1 as never })).toThrow(/recordSteps: expected true or false/);
});

if (availableDevices().includes('cuda')) {
  const ON_DEVICE: TrainConfig = { ...CONFIG, device: 'cuda' };
  const caches = process.env.STRUCTURED_FFN_NO_CUDA_MEMORY_CACHING !== '1';

  test.each<[string, TrainConfig]>([
    ['a step', ON_DEVICE],
    ['a step of several passes', { ...ON_DEVICE, gradientAccumulation: 2 }],
    ['a recorded step', { ...ON_DEVICE, recordSteps: true }],
    ['a step of Muon', { ...ON_DEVICE, optimizer: { name: 'muon' } }],
  ])(
    '%s waits for the device once, and asks it for no more memory',
    async (_, config) => {
      using trainer = new Trainer(config);
      await take(trainer, 3);
      const { systemAllocations } = memoryStats('cuda');
      for (let i = 0; i < 3; i++) {
        const before = native.countedSynchronizations();
        await take(trainer, 1);
        expect(native.countedSynchronizations() - before).toBe(1);
      }
      if (caches) expect(memoryStats('cuda').systemAllocations).toBe(systemAllocations);
    },
    60_000,
  );

  const weightsOf = (trainer: Trainer) =>
    [...trainer.model.namedParameters()].map(([name, value]) => [name, value.toArray()]);

  test.each<[string, TrainConfig, number]>([
    ['lowrank', ON_DEVICE, 4],
    ['by Muon', { ...ON_DEVICE, optimizer: { name: 'muon' } }, 4],
    [
      'blockshuffle in bfloat16, several passes, a guide at first',
      {
        ...ON_DEVICE,
        model: { ...model, activation: 'swiglu', ffn: { structure: 'blockshuffle', nblocks: 2 } },
        precision: 'bfloat16',
        gradientAccumulation: 2,
        guidance: { part: 0.34, form: 'mixed' },
      },
      2,
    ],
  ])(
    '%s: recorded steps give the bits of the others, with a stop in between',
    async (name, config, replays) => {
      using plain = new Trainer(config);
      const expected = [await take(plain, 4), await plain.evaluate({ maxRows: 2 }), await take(plain)];

      const replay = jest.spyOn(native, 'replay');
      const path = join(folder, name.slice(0, 8));
      const first = new Trainer({ ...config, recordSteps: true });
      const before = await take(first, 3);
      first.save(path);
      first[Symbol.dispose]();
      using second = Trainer.resume(path);
      const actual = [
        [...before, ...(await take(second, 1))],
        await second.evaluate({ maxRows: 2 }),
        await take(second),
      ];
      expect(actual).toEqual(expected);
      expect(weightsOf(second)).toEqual(weightsOf(plain));
      expect(replay).toHaveBeenCalledTimes(replays);
      replay.mockRestore();
    },
    120_000,
  );

  test('what a recorded step has no place for is refused', () => {
    const config = { ...ON_DEVICE, recordSteps: true };
    expect(() => new Trainer(config, { onGradients: () => {} })).toThrow('Trainer: onGradients: expected none');
    const nothing = () => {};
    const methods = ['step', 'zeroGrad', 'remove', 'stateDict', 'loadStateDict', 'dispose'];
    const optimizer = () => Object.fromEntries(methods.map((name) => [name, nothing])) as unknown as Optimizer;
    expect(() => new Trainer(config, { optimizer })).toThrow('that has no prepareStep and applyStep');
  });

  test('a recorded step whose loss is not finite ends the run', async () => {
    using trainer = new Trainer({ ...ON_DEVICE, recordSteps: true });
    await take(trainer, 3);
    kernels.fill({ y: trainer.model.embedding.weight, value: Number.NaN });
    await expect(trainer.takeStep()).rejects.toMatchObject({ code: 'ERR_DIVERGED' });
  });
}
