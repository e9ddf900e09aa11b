/** `train --init`: the model is the checkpoint's; what the options say of it is refused, or changes its structure. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSafetensors } from '../../lib/io';
import { cli, folder, writeText } from './support';

const text = writeText('text.txt', 100, 1);
const dense = join(folder, 'dense', 'checkpoint');
const RUN = ['--steps', '1', '--batch-size', '2', '--data', text];
beforeAll(() => {
  const model = ['--preset', 'tiny', '--seq-len', '16', '--tokenizer', 'byte', '--structure', 'dense'];
  expect(cli(['train', ...RUN, ...model, '--out', join(folder, 'dense')])).toMatchObject({ status: 0 });
});

const train = (from: string, out: string, ...args: string[]) =>
  cli(['train', ...RUN, '--init', from, '--out', join(folder, out), ...args]);
const ffnOf = (out: string) => {
  const checkpoint = join(folder, out, 'checkpoint');
  const { tensors } = loadSafetensors(join(checkpoint, 'model.safetensors'));
  return {
    ...JSON.parse(readFileSync(join(checkpoint, 'config.json'), 'utf8')).model.ffn,
    v: tensors.get('blocks.1.ffn.fc1.v')?.shape,
    first: tensors.has('blocks.0.ffn.fc1.v'),
  };
};

test('--structure and sizes convert the feedforward layers, and say so', () => {
  const lowrank = train(dense, 'lowrank', '--structure', 'lowrank', '--rank', '40');
  expect(lowrank).toMatchObject({ status: 0 });
  expect(lowrank.stderr).toContain('init: the feedforward layers become lowrank, each the nearest to its matrix');
  expect(ffnOf('lowrank')).toMatchObject({ structure: 'lowrank', rank: 40, v: [40, 64], first: false });
  const loss = (stdout: string) => Number(stdout.match(/validation loss +([\d.]+) nats/)?.[1]);
  const from = join(folder, 'lowrank', 'checkpoint');
  // Other sizes, and the first block too.
  expect(train(from, 'narrower', '--rank', '8', '--all-structured')).toMatchObject({ status: 0 });
  expect(ffnOf('narrower')).toMatchObject({ structure: 'lowrank', rank: 8, v: [8, 64], first: true });
  const back = train(from, 'back', '--structure', 'dense');
  expect(back.stderr).toContain('become dense');
  expect(ffnOf('back')).toMatchObject({ structure: 'dense', v: undefined });
  const unchanged = train(dense, 'unchanged');
  expect(unchanged.stderr).not.toContain('become');
  expect(Math.abs(loss(lowrank.stdout) - loss(unchanged.stdout))).toBeLessThan(0.05);
});

test('what the checkpoint has already may be said again', () => {
  const same = ['--preset', 'tiny', '--layers', '2', '--structure', 'dense', '--tokenizer', 'byte', '--norm', 'layer'];
  const result = train(dense, 'same', ...same, '--seq-len', '8');
  expect(result).toMatchObject({ status: 0 });
  expect(result.stderr).not.toContain('become');
});

test.each<[string, string[], RegExp]>([
  ['a width', ['--d-model', '32'], /--d-model 32: the model of --init has dModel 64, not 32/],
  ['a preset', ['--preset', 'mini'], /--preset mini: the model of --init has dModel 64, not 192/],
  ['no biases', ['--no-bias'], /--no-bias: the model of --init has bias true, not false/],
  ['a head of its own', ['--untied'], /--untied: the model of --init has tieEmbeddings true/],
  ['an activation', ['--activation', 'relu'], /--activation relu: the model of --init has activation gelu/],
  ['a rank of dense layers', ['--rank', '8'], /--rank: dense layers have no factors/],
  ['an inner activation', ['--inner-activation', 'silu'], /--inner-activation silu: the model of --init has none/],
  ['a tokenizer', ['--tokenizer', 'bpe:300'], /--tokenizer bpe:300: the model of --init has a tokenizer/],
  ['a guide of dense layers', ['--guidance', 'fixed-step'], /--guidance fixed-step: dense layers/],
  [
    'a part without a guide',
    ['--structure', 'lowrank', '--guided-part', '0.3'],
    /--guided-part 0.3: there is no guide/,
  ],
])('%s that the checkpoint has not is refused', (_name, args, message) => {
  const result = train(dense, 'refused', ...args);
  expect(result).toMatchObject({ status: 2, stdout: '' });
  expect(result.stderr).toMatch(message);
  expect(existsSync(join(folder, 'refused', 'checkpoint'))).toBe(false);
});

test.each<[string[], string]>([
  [['--structure', 'dense'], '--structure'],
  [['--structure', 'blockdense', '--ratio', '0.5'], '--structure'],
  [['--rank', '8'], '--rank'],
  [['--all-structured'], '--all-structured'],
])('an activation between the factors forbids %j, which is told by its name', (args, option) => {
  const inner = join(folder, 'inner');
  if (!existsSync(inner)) {
    const model = ['--preset', 'tiny', '--seq-len', '16', '--tokenizer', 'byte', '--inner-activation', 'silu'];
    expect(cli(['train', ...RUN, ...model, '--out', inner])).toMatchObject({ status: 0 });
  }
  const result = train(join(inner, 'checkpoint'), 'refused', ...args);
  expect(result).toMatchObject({ status: 2, stdout: '' });
  expect(result.stderr).toMatch(new RegExp(`^error: ${option}: .* has silu there; leave out --structure, --rank`));
});
