/** Help, what is refused, and with which exit code: 0 all right, 1 something went wrong, 2 used wrongly. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { STRUCTURE_NAMES } from '../../lib/structures';
import { version } from '../../package.json';
import { cli, folder, MAIN, writeText } from './support';

const text = writeText('text.txt', 60, 1);
const nowhere = join(folder, 'nowhere');
const zeros = join(folder, 'zeros.txt');
writeFileSync(zeros, 'a\0b');

test('help teaches', () => {
  const { status, stdout } = cli(['train', '--help']);
  expect(status).toBe(0);
  for (const option of ['--data', '--structure', '--ratio', '--guidance', '--resume', '--json', 'Examples:'])
    expect(stdout).toContain(option);
  // As users of other frameworks look for it.
  expect(stdout).toMatch(/--record-steps\s+record the training step as a CUDA graph/);
  expect(cli(['--help']).stdout).toMatch(/train[\s\S]*eval[\s\S]*generate[\s\S]*info[\s\S]*build/);
});

test('the version is the package’s', () => {
  expect(cli(['--version'])).toMatchObject({ status: 0, stdout: `${version}\n` });
});

test('help and usage errors need no binary, everything else says how to build it', () => {
  const without = { STRUCTURED_FFN_BINARY: nowhere };
  expect(cli(['--help'], without)).toMatchObject({ status: 0 });
  expect(cli(['train', '--steps', 'x'], without)).toMatchObject({ status: 2 });
  const { status, stderr } = cli(['info'], without);
  expect(status).toBe(1);
  expect(stderr).toContain('structured-ffn build');
});

test('more threads than processors are told of in a line, and not used', () => {
  const { status, stderr } = cli(['train', '--resume', nowhere, '--threads', '1024']);
  expect(status).toBe(1);
  expect(stderr).toMatch(/^warning: --threads: 1024 threads would share the (\d+) processors .*; \1 are used\nerror: /);
  const refused = cli(['train', '--resume', nowhere, '--threads', '1025']);
  expect(refused).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/^error: --threads: expected .* 1 to 1024/),
  });
});

test('info tells the machine and the cost of each structure', () => {
  const { status, stdout } = cli(['info', '--d-model', '768', '--ratio', '0.32', '--json']);
  expect(status).toBe(0);
  const { machine, costs } = JSON.parse(stdout);
  expect(machine).toMatchObject({ node: process.version, devices: expect.arrayContaining(['cpu']) });
  expect(costs.map(({ structure }: { structure: string }) => structure)).toEqual(STRUCTURE_NAMES);
  // Weights 2·768·3072 and biases 3072 + 768.
  expect(costs[0].parameters).toBe(2 * 768 * 3072 + 3072 + 768);
  expect(costs[1].parameters / costs[0].parameters).toBeCloseTo(0.3125, 2);
  const table = cli(['info']).stdout;
  expect(table).toMatch(/lowrank +rank 192/);
  expect(table).toContain('CUDA:');
});

test.each<[string, string[], number, RegExp]>([
  ['an unknown command', ['trian'], 2, /unknown command 'trian'/],
  ['an unknown option', ['train', '--stpes', '3'], 2, /unknown option '--stpes'/],
  ['no data', ['train'], 2, /--data FILE_OR_FOLDER/],
  ['two kinds of data', ['train', '--data', text, '--tokens', text], 2, /either --data/],
  ['a number that is none', ['train', '--data', text, '--steps', 'many'], 2, /It is not a number/],
  ['an unknown device', ['train', '--data', text, '--device', 'tpu'], 2, /Allowed choices are cpu, cuda/],
  ['three block counts', ['train', '--data', text, '--nblocks', '2,3,4'], 2, /It must be one or two numbers/],
  ['zero steps', ['train', '--data', text, '--steps', '0'], 2, /at least 1/],
  ['an unknown structure', ['train', '--data', text, '--structure', 'sparse'], 2, /Allowed choices are dense/],
  ['an unknown preset', ['train', '--data', text, '--preset', 'huge'], 2, /expected one of tiny/],
  ['a ratio above 1', ['train', '--data', text, '--tokenizer', 'byte', '--ratio', '3'], 2, /ratio/],
  ['a bad tokenizer', ['train', '--data', text, '--tokenizer', 'bpe:12'], 2, /at least 257/],
  ['a rank beside dense', ['train', '--data', text, '--structure', 'dense', '--rank', '8'], 2, /--rank: dense layers/],
  ['a ratio beside dense', ['train', '--data', text, '--structure', 'dense', '--ratio', '0.5'], 2, /--ratio: dense/],
  ['blocks beside dense', ['train', '--data', text, '--structure', 'dense', '--nblocks', '2'], 2, /--nblocks: dense/],
  [
    'structure beside dense',
    ['train', '--data', text, '--structure', 'dense', '--all-structured'],
    2,
    /--all-structured/,
  ],
  [
    'a guide of dense layers',
    ['train', '--data', text, '--structure', 'dense', '--guidance', 'fixed-flop'],
    2,
    /--guidance/,
  ],
  [
    'a part without a guide',
    ['train', '--data', text, '--guidance', 'none', '--guided-part', '0.2'],
    2,
    /--guided-part 0.2/,
  ],
  [
    'a schedule of no guide',
    ['train', '--data', text, '--structure', 'dense', '--alpha-schedule', 'linear'],
    2,
    /no guide/,
  ],
  [
    'a vocabulary for a text',
    ['train', '--data', text, '--vocab-size', '300'],
    2,
    /--vocab-size 300: .* with --tokens/,
  ],
  [
    'tokens beside a text',
    ['train', '--data', text, '--validation-tokens', text],
    2,
    /--validation-tokens .* with --tokens/,
  ],
  ['tokens without a vocabulary', ['train', '--tokens', text], 2, /--vocab-size/],
  ['a budget of no merging', ['generate', nowhere, '--prompt', 'a', '--merge-budget', '5'], 2, /--merge-budget 5/],
  ['costs of the CPU', ['tune', nowhere, '--costs', text], 2, /--costs .* --device cuda/],
  ['a table of no model', ['tune', '--device', 'cuda', '--table', text], 2, /--table .* with a checkpoint/],
  ['no prompt', ['generate', nowhere], 2, /required option '--prompt/],
  ['eval of nothing', ['eval', nowhere], 2, /either --data/],
  ['two texts', ['train', '--data', text, '--data', text], 2, /--data .* given twice/],
  [
    'a place that is empty',
    ['train', '--data', text, '--out', ''],
    2,
    /--out <folder>' argument '' is invalid. It is empty/,
  ],
  [
    'an option in the place of a folder',
    ['train', '--data', text, '--out', '--force'],
    2,
    /'--force' is invalid. It is an option/,
  ],
  ['a text that is empty', ['eval', nowhere, '--data', ''], 2, /--data .* It is empty/],
  ['a checkpoint that is empty', ['generate', '', '--prompt', 'a'], 2, /checkpoint'. It is empty/],
  [
    'two budgets',
    ['train', '--data', text, '--steps', '3', '--target-flops', '1e9'],
    2,
    /cannot be used with option '--steps/,
  ],
  [
    'a budget of nothing',
    ['train', '--data', text, '--target-tokens', '0'],
    2,
    /--target-tokens 0: it must be above 0/,
  ],
  [
    'the seed of a run that goes on',
    ['train', '--resume', nowhere, '--seed', '9'],
    2,
    /--seed: --resume .* own settings; what may change is --steps, --batch-size, /,
  ],
  ['a place of a run that goes on', ['train', '--resume', nowhere, '--out', 'x'], 2, /--out: --resume/],
  [
    'a rate below zero',
    ['train', '--data', text, '--lr', '-1'],
    2,
    /error: --lr: expected a number of at least 0, got -1/,
  ],
  [
    'a default beside a wrong width',
    ['train', '--data', text, '--tokenizer', 'byte', '--d-model', '7'],
    2,
    /nHeads: expected a divisor/,
  ],
  [
    'a budget below zero',
    ['generate', nowhere, '--prompt', 'a', '--dispatch', 'auto', '--merge-budget', '-5'],
    2,
    /--merge-budget: .* got -5/,
  ],
  ['a text that is not there', ['train', '--data', nowhere], 1, /nowhere/],
  ['a file that is no text', ['train', '--data', zeros], 1, /it is not text/],
  ['a checkpoint that is not there', ['generate', nowhere, '--prompt', 'a'], 1, /no such checkpoint/],
  ['a resume of nothing', ['train', '--resume', nowhere], 1, /no such checkpoint/],
])('%s', (_name, args, status, message) => {
  const result = cli(args);
  expect(result).toMatchObject({ status, stdout: '' });
  expect(result.stderr).toMatch(message);
  expect(result.stderr).not.toMatch(/^ +at /m);
});

test('--debug shows where an error came from', () => {
  expect(cli(['--debug', 'train', '--data', nowhere]).stderr).toMatch(/^ +at /m);
});

test('a working folder that was removed is told', () => {
  const gone = join(folder, 'gone');
  mkdirSync(gone);
  const command = `rmdir '${gone}'; '${process.execPath}' '${MAIN}' train --data '${text}' --tokenizer byte`;
  const { status, stderr } = spawnSync('sh', ['-c', command], { cwd: gone, encoding: 'utf8' });
  expect(stderr).toContain('the working folder is gone');
  expect(status).toBe(1);
});

test('a folder for temporary files that is not there is told', () => {
  const out = join(folder, 'for-eval');
  const run = ['train', '--preset', 'tiny', '--tokenizer', 'byte', '--seq-len', '16', '--data', text, '--steps', '1'];
  expect(cli([...run, '--out', out])).toMatchObject({ status: 0 });
  const result = cli(['eval', join(out, 'checkpoint'), '--data', text], { TMPDIR: nowhere });
  expect(result).toMatchObject({ status: 1, stderr: expect.stringContaining(`cannot write ${nowhere}: no such`) });
});
