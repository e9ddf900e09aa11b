/** `npm run bench` takes a CUDA device along where there is one, and says what is missing where it is asked for in vain. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readResults } from '../../bench/harness/results';
import { availableDevices, cudaStatus } from '../../lib';

const ROOT = join(__dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'bench-cuda-'));
afterAll(() => rmSync(folder, { recursive: true }));

function run(script: string, ...args: string[]) {
  const command = ['-r', './scripts/register_ts.cjs', `bench/${script}.ts`, ...args];
  return spawnSync(process.execPath, command, { cwd: ROOT, encoding: 'utf8' });
}

const file = join(folder, 'figures.json');
const QUICK = ['--shape', '24x96', '--tokens', '20', '--time', '1', '--rounds', '1', '--no-rivals', '--out', file];
const BOTH = ['--precisions', 'float32,bfloat16'];

const withCuda = () => {
  test('measures the device beside the CPU, after its results agreed', () => {
    const { stderr, status } = run(
      'main',
      ...QUICK,
      ...BOTH,
      '--suite',
      'kernels,ffn,training',
      '--structure',
      'dense',
    );
    expect([stderr, status]).toEqual(['', 0]);
    const { results, machine } = readResults(file);
    expect(machine.cuda).toBe(cudaStatus());
    for (const suite of ['kernels', 'ffn', 'training']) {
      const timed = results.filter((result) => result.suite === suite && result.unit === 'ms' && result.flops > 0);
      expect([...new Set(timed.map(({ side }) => side))].sort()).toEqual([
        'structured-ffn',
        'structured-ffn bfloat16',
        'structured-ffn cuda bfloat16',
        'structured-ffn cuda float32',
      ]);
      const onDevice = timed.filter(({ side }) => side.includes('cuda'));
      for (const { error, median } of onDevice) expect([error! < 5e-2, median > 0]).toEqual([true, true]);
    }
    const report = run('report', file, '--out', join(folder, 'pages'));
    if (cudaStatus().includes('PTX executor')) {
      expect(report.stderr).toMatch(/PTX executor, which is not a GPU/);
      expect(readdirSync(folder)).not.toContain('pages');
    } else expect(report.status).toBe(0);
  }, 300_000);
};

const withoutCuda = () => {
  test('asking for the device says what is missing', () => {
    const { stderr, status } = run('main', ...QUICK, '--device', 'cuda');
    expect(status).toBe(1);
    expect(stderr).toMatch(/--device: device 'cuda' is not (built|available)/);
  });
};

if (availableDevices().includes('cuda')) describe('with CUDA', withCuda);
else describe('without CUDA', withoutCuda);
