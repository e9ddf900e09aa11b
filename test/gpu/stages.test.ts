/** The stages of gpu/: what they consist of, how they are chosen, and how they read what NVIDIA's tools print. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Command, planOf, secondsOf, UNPACK_SECONDS, WHOLE_SECONDS } from '../../gpu/plan';
import { kernelProblems, switchProblems, trainingJobs } from '../../gpu/problems';
import { ProfileReader } from '../../gpu/profile';
import { errorsIn } from '../../gpu/sanitizer';
import { SassReader } from '../../gpu/sass';
import { RepeatedDraws } from '../../gpu/support/draws';
import { Script } from '../../gpu/support/options';
import { readRows, STAGE_LETTERS } from '../../gpu/support/rows';
import { tidy } from '../../lib';

const ROOT = join(__dirname, '..', '..');
const plan = planOf({ device: 'cuda', size: 'full', results: 'r', python: 'python3', problems: 'p' });
const commands = plan.flat();

describe('the plan', () => {
  test('ends in time, with a reserve for ending what runs over', () => {
    expect(secondsOf(plan) + UNPACK_SECONDS).toBeLessThanOrEqual(WHOLE_SECONDS - 10);
    const script = readFileSync(join(ROOT, 'gpu', 'run.sh'), 'utf8');
    expect(Number(/^WHOLE=(\d+)$/m.exec(script)?.[1])).toBe(WHOLE_SECONDS);
  });

  test('is the table of gpu/README.md', () => {
    const table = readFileSync(join(ROOT, 'gpu', 'README.md'), 'utf8');
    const seconds = [...table.matchAll(/^\| [a-z, ]+ \| ([\d +]+) s \|/gm)].map(([, text]) =>
      text!.split('+').reduce((sum, part) => sum + Number(part), 0),
    );
    expect(seconds.reduce((sum, part) => sum + part, 0)).toBe(secondsOf(plan) + UNPACK_SECONDS);
  });

  test('has a name for each command, every stage, and only scripts that exist', () => {
    expect(new Set(commands.map(({ name }) => name)).size).toBe(commands.length);
    expect([...new Set(commands.map(({ stage }) => stage))].sort()).toEqual(STAGE_LETTERS);
    const files = commands.flatMap(({ argv }) => argv.filter((text) => /^(gpu|test)\/.*\.(ts|py)$/.test(text)));
    expect(files.length).toBeGreaterThan(15);
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });

  test('leaves each script time to end by itself', () => {
    const time = ({ argv }: Command) => Number(argv.find((text) => text.startsWith('--seconds='))?.slice(10));
    const limited = commands.filter((command) => !Number.isNaN(time(command)));
    expect(limited.length).toBeGreaterThan(15);
    for (const command of limited) expect(time(command)).toBeLessThan(command.limit);
  });
});

describe('problems', () => {
  test('have one name each, and those with kernels chosen by hand are among them', () => {
    for (const size of ['full', 'small', 'tiny'] as const) {
      const names = kernelProblems(size).map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
    }
    const names = kernelProblems('full').map(({ name }) => name);
    expect(switchProblems('full').filter(({ name }) => !names.includes(name))).toEqual([]);
  });

  test('of few tokens have weights that no cache holds', () => {
    const one = kernelProblems('full').find(({ tokens, structure }) => tokens === 1 && structure === 'dense')!;
    expect(one.copies * 2 * one.layers[0]!.u.reduce((a, b) => a * b, 1)).toBeGreaterThan(200e6);
  });

  test("of training have the shapes of the model's own layers", () => {
    const [, blockshuffle] = trainingJobs('full');
    expect(blockshuffle).toMatchObject({ fc1: { v: [4, 512, 512], u: [4, 2048, 512] }, nLayers: 24, vocabSize: 32000 });
  });
});

describe('options', () => {
  test('that there are not, or that make no sense, are refused by name', () => {
    expect(() => new Script(['--sizes=full'])).toThrow('--sizes');
    expect(() => new Script(['--size=huge'])).toThrow('--size: expected one of full, small, tiny');
    expect(() => new Script(['--seconds=soon'])).toThrow('--seconds');
    expect(() => new Script(['--only=a']).checkParts(['b'])).toThrow('--only: expected one of b');
  });

  test('draws are repeated, and as wide as asked for', () => {
    tidy(() => {
      const values = Float32Array.from(new RepeatedDraws(1).normal([2 ** 20 + 5], 0, 3).data);
      expect(values.slice(-5)).toEqual(values.slice(0, 5));
      const squares = values.reduce((sum, value) => sum + value * value, 0);
      expect(Math.sqrt(squares / values.length)).toBeCloseTo(3, 1);
    });
  });
});

describe('readers', () => {
  test('compute-sanitizer', () => {
    expect(errorsIn('========= ERROR SUMMARY: 3 errors')).toBe(3);
    expect(errorsIn('========= RACECHECK SUMMARY: 5 hazards displayed (2 errors, 3 warnings)')).toBe(2);
    expect(errorsIn('========= ERROR SUMMARY: 0 errors')).toBe(0);
    expect(errorsIn('========= Invalid __global__ read of size 4 bytes')).toBeNull();
  });

  test('cuobjdump', () => {
    const reader = new SassReader();
    const text = `
      code for sm_90a
          Function : first
          /*0010*/  HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4], R24 ;
          Function : second
          /*0010*/  HMMA.16816.F32.BF16 R4, R4, R6, R8 ;
          /*0020*/  STL [R1], R2 ;
          /*0030*/  LDL.64 R2, [R1] ;`;
    for (const line of text.split('\n')) reader.take(line);
    expect(reader.kernels).toEqual([
      { kernel: 'first', architecture: 'sm_90a', wgmma: 1, mma: 0, local: 0 },
      { kernel: 'second', architecture: 'sm_90a', wgmma: 0, mma: 1, local: 2 },
    ]);
  });

  test('ncu', () => {
    const reader = new ProfileReader();
    const line = (...values: string[]) => reader.take(values.map((value) => `"${value}"`).join(','));
    reader.take('==PROF== Connected to process 1');
    line('ID', 'Kernel Name', 'Grid Size', 'Metric Name', 'Metric Unit', 'Metric Value');
    const kernel = 'void sffn::(anonymous namespace)::gemm_bf16<(int)128, (bool)1>(sffn::Product, void (*)(int))';
    line('0', kernel, '(132, 1, 1)', 'Duration', 'us', '1,234.5');
    line('0', kernel, '(132, 1, 1)', 'Registers Per Thread', 'register/thread', '168');
    line('0', kernel, '(132, 1, 1)', 'Something else', '', '1');
    line('1', 'norm_backward_kernel(float)', '(8, 1, 1)', 'Duration', 'us', '7');
    expect([...reader.launches.values()]).toEqual([
      {
        kind: 'profile',
        kernel: 'sffn::gemm_bf16<(int)128, (bool)1>',
        grid: '(132, 1, 1)',
        metrics: { Duration: '1,234.5 us', 'Registers Per Thread': '168 register/thread' },
      },
      { kind: 'profile', kernel: 'norm_backward_kernel', grid: '(8, 1, 1)', metrics: { Duration: '7 us' } },
    ]);
  });
});

describe('the rivals', () => {
  const python = (code: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('python3', ['-B', '-c', code, ...args], {
      cwd: join(ROOT, 'gpu', 'torch'),
      encoding: 'utf8',
    });
    return {
      status,
      rows: stdout.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : [])),
      stderr,
    };
  };

  test('take the options that the plan gives them, and go on after a failure', () => {
    const [, ...args] = commands.find(({ name }) => name === 'kernels of PyTorch')!.argv.slice(1);
    const options = args.filter((text) => !text.startsWith('--results'));
    const code = `
from common import Script
def measure(item):
    if item["name"] == "second":
        raise ValueError("too large")
script = Script()
script.free = lambda: None
script.each("rival", [{"name": name} for name in ("first", "second", "third")], measure)
script.end = 0
script.each("late", [{"name": "first"}], measure)`;
    const origin = { stage: 'd', command: 'kernels of PyTorch' };
    expect(python(code, ...options)).toEqual({
      status: 0,
      stderr: '',
      rows: [
        { ...origin, kind: 'failure', side: 'rival', at: 'second', message: 'ValueError: too large' },
        { ...origin, kind: 'coverage', side: 'rival', done: 2, of: 3 },
        { ...origin, kind: 'coverage', side: 'late', done: 0, of: 1 },
      ],
    });
  });

  test('are Python', () => {
    const code = `
import glob, json
for file in sorted(glob.glob("*.py")):
    compile(open(file).read(), file, "exec")
    print(json.dumps({"file": file}))`;
    const { rows, stderr } = python(code);
    expect(stderr).toBe('');
    expect(rows.map(({ file }) => file)).toEqual(
      expect.arrayContaining(['kernels.py', 'train.py', 'decode.py', 'model.py']),
    );
  });
});

describe('running them', () => {
  const out = mkdtempSync(join(tmpdir(), 'gpu-stages-'));
  afterAll(() => rmSync(out, { recursive: true }));
  const main = (...args: string[]) =>
    spawnSync(process.execPath, ['-r', './scripts/register_ts.cjs', 'gpu/main.ts', `--out=${out}`, ...args], {
      cwd: ROOT,
      encoding: 'utf8',
    });

  test('some of a stage, after the probe, and again', () => {
    const options = [
      '--device=cpu',
      '--size=tiny',
      '--python=/nowhere',
      '--stages=e',
      '--only=training,training of PyTorch',
    ];
    for (let i = 0; i < 2; i++) expect(main(...options)).toMatchObject({ status: 0, stderr: '' });
    const ends = readRows([join(out, 'results.jsonl')]).filter(({ kind }) => kind === 'end');
    expect(ends.map((row) => row.command)).toEqual(['probe', 'training', 'training of PyTorch']);
    expect(ends[2]).toMatchObject({ outcome: 'skipped', detail: 'it needs PyTorch' });
  });

  test.each([
    ['--stage=a', "Unknown option '--stage'"],
    ['--stages=a,x', '--stages: expected one of a, b'],
    ['--device=gpu', '--device: expected one of cpu, cuda'],
    ['--only=nothing', '--only: expected one of probe'],
  ])('%s is refused', (option, message) => {
    const { status, stderr } = main(option);
    expect(status).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('    at ');
  });
});
