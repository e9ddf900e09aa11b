/** Models in folders: what a save that dies leaves, and what cannot be read. */
import fs, { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { FileError, FormatError } from '../../lib';
import { expectClose, sffn } from './support';

const root = mkdtempSync(join(tmpdir(), 'tfjs-files-'));
afterAll(() => rmSync(root, { recursive: true }));
beforeAll(() => tf.setBackend('cpu'));

/** A model whose weights are all one number, so that a mixture of two shows. */
function modelOf(value: number, units = 3): tf.LayersModel {
  const model = tf.sequential({ layers: [sffn.layers.lowRankDense({ units, rank: 2, inputShape: [4] })] });
  model.setWeights(model.getWeights().map((weight) => tf.fill(weight.shape, value)));
  return model;
}

const predict = (model: tf.LayersModel) => model.predict(tf.ones([1, 4])) as tf.Tensor;
const load = (folder: string) => tf.loadLayersModel(sffn.fileIO(folder));

test.each(['openSync', 'writeSync', 'renameSync'] as const)(
  'a save that fails in any %s leaves the model that was there',
  async (call) => {
    const [old, next] = [modelOf(1), modelOf(2, 5)];
    for (let n = 1; ; n++) {
      const folder = join(root, `${call}_${n}`);
      await old.save(sffn.fileIO(folder));
      let count = 0;
      const real = fs[call] as (...args: never[]) => unknown;
      const spy = jest.spyOn(fs, call).mockImplementation(((...args: never[]) => {
        if (++count === n) throw Object.assign(new Error(call), { code: 'ENOSPC' });
        return real(...args);
      }) as never);
      const saved = next.save(sffn.fileIO(folder)).then(
        () => true,
        (error: unknown) => {
          expect(error).toBeInstanceOf(FileError);
          return false;
        },
      );
      const whole = await saved;
      spy.mockRestore();
      const loaded = predict(await load(folder));
      // The last calls bring names to the disk: the new model may be there already.
      await expectClose(loaded, predict(loaded.shape[1] === 5 ? next : old), 0);
      if (whole) {
        expect(loaded.shape).toEqual([1, 5]);
        expect(n).toBeGreaterThan(2);
        break;
      }
    }
  },
);

test('saves over each other leave two files', async () => {
  const folder = join(root, 'again');
  for (const value of [1, 2, 3, 4]) {
    await modelOf(value).save(sffn.fileIO(folder));
    await expectClose(predict(await load(folder)), predict(modelOf(value)), 0);
    expect(readdirSync(folder).sort()).toEqual(['model.json', value % 2 ? 'weights.bin' : 'weights-2.bin'].sort());
  }
});

test('what cannot be read says which file and why', async () => {
  const folder = join(root, 'broken');
  await expect(load(folder)).rejects.toThrow(FileError);
  await modelOf(1).save(sffn.fileIO(folder));
  rmSync(join(folder, 'weights.bin'));
  await expect(load(folder)).rejects.toThrow(`cannot read ${join(folder, 'weights.bin')}: no such file`);
  writeFileSync(join(folder, 'model.json'), '{"modelTop');
  await expect(load(folder)).rejects.toThrow(FormatError);
  // A save is the remedy.
  await modelOf(2).save(sffn.fileIO(folder));
  await expectClose(predict(await load(folder)), predict(modelOf(2)), 0);
});
