import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSafetensors } from '../../lib/io';
import type { EndEvent, StartEvent } from '../../lib/train';
import { cli, folder, jsonLines, start, writeText } from './support';

const text = writeText('text.txt', 400, 1);
const SMALL = ['--preset', 'tiny', '--tokenizer', 'byte', '--seq-len', '32', '--batch-size', '4'];
const train = (...args: string[]) => cli(['train', ...SMALL, ...args]);

test('text to a checkpoint, a summary, a sample and a report', () => {
  const out = join(folder, 'whole');
  const report = join(folder, 'whole.html');
  const result = train('--data', text, '--steps', '60', '--out', out, '--report', report, '--sample', 'the ship');
  expect(result).toMatchObject({ status: 0 });
  expect(result.stderr).toContain('data: 1 documents');
  expect(result.stderr).toMatch(/step 60\/60: loss \d\.\d{4}, lr .*, α 0\.00, \d+ tokens\/s/);
  for (const row of ['validation loss', 'perplexity', 'bits per byte', 'unigram model', 'bigram model', 'speed'])
    expect(result.stdout).toContain(row);
  expect(result.stdout).toMatch(/feedforward parameters +[\d,]+, [\d.]+ % fewer than the [\d,]+ of dense layers/);
  expect(result.stdout).toContain('the ship');

  const loss = (name: string) => Number(result.stdout.match(new RegExp(`${name} +([\\d.]+) nats`))?.[1]);
  expect(loss('validation loss')).toBeLessThan(loss('unigram model') - 0.3);

  const page = readFileSync(report, 'utf8');
  expect(page.match(/<svg/g)).toHaveLength(3);
  expect(page).toContain('Weight of the guide');
  expect(page).toContain('the ship');
  expect(page).not.toMatch(/<script|src=|href="http/);

  const { tensors } = loadSafetensors(join(out, 'checkpoint', 'model.safetensors'));
  expect(tensors.get('embedding.weight')?.shape).toEqual([257, 64]);
  expect([...tensors.keys()].some((name) => name.endsWith('.guide'))).toBe(false);

  const checkpoint = join(out, 'checkpoint');
  const evaluated = cli(['eval', checkpoint, '--data', text, '--json']);
  expect(evaluated).toMatchObject({ status: 0, stderr: '' });
  expect(JSON.parse(evaluated.stdout)).toMatchObject({ loss: expect.any(Number), bitsPerByte: expect.any(Number) });
  expect(cli(['eval', checkpoint, '--data', text]).stdout).toMatch(/^loss \d\.\d{4} nats per token, perplexity/);

  const sample = ['generate', checkpoint, '--prompt', 'the sea', '--max-new-tokens', '12'];
  const generated = cli(sample);
  expect(generated.status).toBe(0);
  expect(generated.stderr).toMatch(/^prefill \d+ tokens, [\d.]+ tokens\/s; decode 11 tokens, [\d.]+ tokens\/s\n$/);
  expect(generated.stdout).toMatch(/^the sea/);
  expect(cli(sample).stdout).toBe(generated.stdout);
  const greedy = cli([...sample, '--temperature', '0']).stdout;
  expect(cli([...sample, '--temperature', '0', '--seed', '3']).stdout).toBe(greedy);
  expect(cli([...sample, '--temperature', '0', '--stop', greedy.slice(9, 12)]).stdout).toBe(`${greedy.slice(0, 9)}\n`);
}, 60_000);

test('the model is what the options say', () => {
  const out = join(folder, 'options');
  const model = ['--head-size', '8', '--d-ff', '48', '--norm', 'rms', '--norm-eps', '1e-6', '--no-bias'];
  const ffn = ['--structure', 'lowrank', '--inner-activation', 'silu'];
  const rest = ['--rope-base', '500', '--untied', '--steps', '1', '--json', '--out', out];
  expect(train('--data', text, ...model, ...ffn, ...rest)).toMatchObject({ status: 0, stderr: '' });
  const config = JSON.parse(readFileSync(join(out, 'checkpoint', 'config.json'), 'utf8')).model;
  expect(config).toMatchObject({ headSize: 8, dFF: 48, norm: 'rms', normEps: 1e-6, bias: false, ropeBase: 500 });
  expect(config.ffn).toEqual({ structure: 'lowrank', ratio: 0.32, innerActivation: 'silu' });
  const { tensors } = loadSafetensors(join(out, 'checkpoint', 'model.safetensors'));
  expect(tensors.get('head.weight')?.shape).toEqual([257, 64]);
  expect(tensors.get('blocks.0.attention.qkv.weight')?.shape).toEqual([48, 64]);
  expect([...tensors.keys()].filter((name) => name.endsWith('.bias'))).toEqual([]);
});

test('the optimizer is what the options say, also where the run goes on', () => {
  const out = join(folder, 'optimizer');
  const options = ['--optimizer', 'muon', '--decay', 'matrices', '--steps', '2', '--json', '--out', out];
  expect(train('--data', text, ...options)).toMatchObject({ status: 0, stderr: '' });
  const checkpoint = join(out, 'checkpoint');
  const { config } = JSON.parse(readFileSync(join(checkpoint, 'trainer.json'), 'utf8'));
  expect(config.optimizer).toEqual({ name: 'muon', decay: 'matrices' });
  const { tensors } = loadSafetensors(join(checkpoint, 'optimizer.safetensors'));
  expect(tensors.get('blocks.0.attention.qkv.weight.momentum_buffer')?.shape).toEqual([192, 64]);
  expect(tensors.get('embedding.weight.exp_avg')?.shape).toEqual([257, 64]);
  expect(cli(['train', '--resume', checkpoint, '--json'])).toMatchObject({ status: 0, stderr: '' });
  expect(train('--data', text, '--optimizer', 'sgd')).toMatchObject({ status: 2 });
});

test('a folder is several documents, a tenth of them held out whole', () => {
  const path = join(folder, 'texts');
  mkdirSync(path);
  for (let i = 0; i < 10; i++) writeFileSync(join(path, `${i}.txt`), readFileSync(writeText('part', 20, i)));
  const result = train('--data', path, '--tokenizer', 'bpe:300', '--steps', '2', '--out', join(folder, 'texts-out'));
  expect(result).toMatchObject({ status: 0 });
  expect(result.stderr).toMatch(/data: 10 documents, [\d,]+ bytes; [\d,]+ tokens to train on, [\d,]+ held out/);
  expect(existsSync(join(folder, 'texts-out', 'checkpoint', 'tokenizer.json'))).toBe(true);
});

describe('--json', () => {
  const out = join(folder, 'json');
  const first = train('--data', text, '--steps', '4', '--eval-every', '2', '--json', '--out', out);
  const checkpoint = join(out, 'checkpoint');
  const losses = (stdout: string) => jsonLines(stdout).flatMap(({ type, loss }) => (type === 'step' ? [loss] : []));

  test('gives one object a line and nothing else', () => {
    expect(first).toMatchObject({ status: 0, stderr: '' });
    expect(jsonLines(first.stdout).map(({ type }) => type)).toEqual([
      'start',
      ...['step', 'step', 'evaluation', 'step', 'step'],
      ...['checkpoint', 'evaluation', 'end'],
    ]);
    expect(jsonLines(first.stdout)[1]).toMatchObject({ step: 1, alpha: 1, tokens: 128 });
  });

  test('a budget of tokens or operations decides how many steps there are', () => {
    const target = (...budget: string[]) => {
      const result = train('--data', text, '--json', '--out', join(folder, 'budget'), '--force', ...budget);
      expect(result).toMatchObject({ status: 0, stderr: '' });
      const events = jsonLines(result.stdout);
      const [start, end] = [events[0], events.at(-1)] as unknown as [StartEvent, EndEvent];
      return { total: start.plan.total, planned: start.flops, done: end.flops };
    };
    const { total, planned, done } = target('--target-tokens', '600');
    expect(total).toBe(4); // of 4 rows of 32 tokens
    expect(done).toEqual(planned);
    expect(target('--target-flops', String(planned.total + 1)).total).toBe(4);
    expect(target('--target-flops', String(planned.total * 0.99)).total).toBe(3);
  });

  test('is the same at every run of the same seed', () => {
    const again = train('--data', text, '--steps', '4', '--json', '--out', join(folder, 'again'));
    expect(losses(again.stdout)).toEqual(losses(first.stdout));
    const other = train('--data', text, '--steps', '4', '--json', '--seed', '1', '--out', join(folder, 'other'));
    expect(losses(other.stdout)).not.toEqual(losses(first.stdout));
  });

  test('given weights on given tokens in order, for comparisons with other frameworks', () => {
    const tokens = join(folder, 'ordered.bin');
    writeFileSync(tokens, new Uint8Array(Uint16Array.from({ length: 400 }, (_, i) => 97 + (i % 13)).buffer));
    const run = (init: string) =>
      train('--init', init, '--tokens', tokens, '--order', 'sequential', '--json', '--steps', '3');
    const result = run(checkpoint);
    expect(result).toMatchObject({ status: 0, stderr: '' });
    const values = losses(result.stdout);
    expect(values).toHaveLength(3);
    // Weights that are trained already get no guide unless it is asked for.
    expect(jsonLines(result.stdout).find(({ type }) => type === 'start')).toMatchObject({ plan: { guided: 0 } });
    expect(losses(run(join(checkpoint, 'model.safetensors')).stdout)).toEqual(values);
  });

  test('--resume of a finished run only evaluates', () => {
    const result = cli(['train', '--resume', checkpoint, '--json']);
    expect(result).toMatchObject({ status: 0, stderr: '' });
    expect(losses(result.stdout)).toEqual([]);
    expect(jsonLines(result.stdout).at(-1)).toMatchObject({ type: 'end', reason: 'finished', step: 4 });
  });

  test('--resume with other values goes on with them, and says what changed', () => {
    const more = ['--steps', '6', '--lr', '0.25', '--schedule', 'constant', '--batch-size', '3'];
    const result = cli(['train', '--resume', checkpoint, ...more]);
    expect(result).toMatchObject({ status: 0 });
    for (const line of [
      '--steps 6, was 4',
      '--lr 0.25, was 0.002',
      '--schedule constant, was cosine',
      '--batch-size 3, was 4',
    ])
      expect(result.stderr).toContain(`changed: ${line}`);
    expect(result.stderr).toContain('step 6/6');
    const late = cli(['train', '--resume', checkpoint, '--steps', '3']);
    expect(late).toMatchObject({ status: 2 });
    expect(late.stderr).toContain('--steps: expected at least the 6 that were taken or are guided, got 3');
  });
});

test('Ctrl-C finishes the step, saves and exits with 130; the run can go on', async () => {
  const out = join(folder, 'interrupted');
  const child = start(['train', ...SMALL, '--data', text, '--steps', '100000', '--json', '--out', out]);
  let stdout = '';
  child.stdout?.on('data', (piece: Buffer) => {
    if (!stdout.includes('"type":"step"') && piece.includes('"type":"step"')) child.kill('SIGINT');
    stdout += piece;
  });
  const [status] = await once(child, 'close');
  expect(status).toBe(130);
  const events = jsonLines(stdout);
  expect(events.slice(-2).map(({ type }) => type)).toEqual(['checkpoint', 'end']);
  expect(events.at(-1)).toMatchObject({ reason: 'aborted' });
  const { step } = JSON.parse(readFileSync(join(out, 'checkpoint', 'trainer.json'), 'utf8'));
  expect(step).toBe(events.at(-1)?.step);
});
