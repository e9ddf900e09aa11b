/** PyTorch as a rival, where Python has it: every way of every precision takes part, and agrees with ours. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readResults } from '../../bench/harness/results';
import { hasTorch, PYTHON } from '../export/hf_cases';

const ROOT = join(__dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'bench-pytorch-'));
afterAll(() => rmSync(folder, { recursive: true }));

function measure(...options: string[]) {
  const out = join(folder, 'figures.json');
  const quick = ['--shape', '24x96', '--time', '1', '--rounds', '1', '--precisions', 'float32,bfloat16'];
  const command = ['-r', './scripts/register_ts.cjs', 'bench/main.ts', ...quick, '--python', PYTHON, '--out', out];
  const { stderr, status } = spawnSync(process.execPath, [...command, ...options], { cwd: ROOT, encoding: 'utf8' });
  expect([stderr, status]).toEqual(['', 0]);
  const theirs = readResults(out).results.filter(({ side }) => side.startsWith('pytorch'));
  // The run itself refuses a result that differs.
  for (const { error, suite } of theirs) if (suite !== 'memory') expect(error).not.toBeNull();
  return (suite: string) => [...new Set(theirs.filter((one) => one.suite === suite).map(({ side }) => side))].sort();
}

const withTorch = () => {
  test('eager: float32, autocast, and tensors of bfloat16 but for training, which needs float32 weights', () => {
    const suites = ['--suite', 'kernels,ffn,training,decode', '--structure', 'lowrank', '--tokens', '1,16'];
    const sides = measure(...suites, '--rivals', 'pytorch');
    const all = ['pytorch', 'pytorch autocast bfloat16', 'pytorch bfloat16'];
    expect(['kernels', 'ffn', 'decode'].map(sides)).toEqual([all, all, all]);
    expect(sides('training')).toEqual(['pytorch', 'pytorch autocast bfloat16']);
  }, 300_000);

  test('compiled', () => {
    const suites = ['--suite', 'kernels', '--structure', 'none', '--tokens', '16', '--phase', 'forward'];
    expect(measure(...suites, '--rivals', 'pytorch-compiled')('kernels')).toEqual([
      'pytorch compiled',
      'pytorch compiled autocast bfloat16',
      'pytorch compiled bfloat16',
    ]);
  }, 300_000);
};

const withoutTorch = () => {
  test('the run goes on without it', () => {
    const suites = ['--suite', 'overhead', '--rivals', 'pytorch,pytorch-compiled'];
    expect(measure(...suites)('overhead')).toEqual([]);
  });
};

if (hasTorch()) describe('with PyTorch', withTorch);
else describe('without PyTorch', withoutTorch);
