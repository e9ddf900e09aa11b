/** Hazards of native code in Node: workers that end, processes that exit, garbage, denormals, memory that runs out. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { memoryStats } from '../../lib/device';
import { asyncKernels, kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { allocatedWithoutGarbage, withSpareMemory } from '../support/garbage';
import { onEveryIsa, SANITIZED } from './support';

beforeEach(() => allocatedWithoutGarbage());

const ROOT = join(__dirname, '..', '..');

test.each([
  'terminateDuringAsyncJobs',
  'terminateDuringSyncKernels',
  'addonInWorkersOnly',
  'manyWorkers',
  'exitDuringAsyncJob',
  'jobKeepsTheProcessAlive',
  'garbage',
  'foreignExceptions',
  ...(process.platform === 'linux' && !SANITIZED ? ['refusedThreads'] : []),
])(
  '%s leaves the process alive and right',
  (scenario) => {
    const child = spawnSync(
      process.execPath,
      ['--expose-gc', '-r', './scripts/register_ts.cjs', 'test/native/safety_child.ts', scenario],
      { cwd: ROOT, encoding: 'utf8', timeout: 100_000 },
    );
    expect({ status: child.status, signal: child.signal, stdout: child.stdout, stderr: child.stderr }).toEqual({
      status: 0,
      signal: null,
      stdout: '1536\n',
      stderr: '',
    });
  },
  110_000,
);

onEveryIsa(() => {
  // Denormals are up to 148 times slower, so kernels flush them, on every thread of the pool.
  test('denormal products are flushed to zero, and the mode of the JavaScript thread stays', () => {
    const [rows, features] = [512, 64];
    const x = new Float32Array(rows * features).fill(1e-30);
    const u = new Float32Array(features * features).fill(1e-10);
    const y = new Float32Array(rows * features).fill(1);
    const dims = Int32Array.of(1, features, features, 1, features, features, 0);
    kernels.linear_forward({
      x,
      v: null,
      u,
      guide: null,
      bias: null,
      residual: null,
      h: null,
      pre: null,
      y,
      n: rows,
      dims,
      factor_scale: 1,
      guide_scale: 0,
      activation: native.activations.none,
    });
    expect(y.every((value) => value === 0)).toBe(true);
    const denormal = Number('1e-310');
    expect([denormal / 2 > 0, denormal / 2, Number('5e-324') * 3]).toEqual([true, 5e-311, 1.5e-323]);
  });
});

test('denormals of the JavaScript thread survive an asynchronous job as well', async () => {
  const handle = native.allocate(16, 0);
  await asyncKernels.fill({ y: handle, value: 1e-40 });
  native.release(handle);
  expect(Number('1e-310') / 2).toBe(5e-311);
});

test('memory that runs out is an error, and the next call works', async () => {
  await withSpareMemory(1000, 'cpu', () => {
    expect(() => native.allocate(1 << 20, 0)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }));
  });
  const { allocated } = memoryStats();
  native.release(native.allocate(1 << 20, 0));
  expect(() => native.allocate(2 ** 52, 0)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }));
  expect(memoryStats().allocated).toBe(allocated);
});

describe('operands that are none', () => {
  const array = new Float32Array(4);
  const stale = native.allocate(4, 0);
  native.release(stale);

  test.each<[string, unknown, string]>([
    ['undefined', undefined, 'ERR_ARGUMENT'],
    ['text', 'x', 'ERR_ARGUMENT'],
    ['a plain array', [1, 2], 'ERR_ARGUMENT'],
    ['an ArrayBuffer', new ArrayBuffer(16), 'ERR_ARGUMENT'],
    ['float64', new Float64Array(4), 'ERR_DTYPE'],
    ['a released handle', stale, 'ERR_DISPOSED'],
    ['a handle never given', 123456789, 'ERR_DISPOSED'],
    ['NaN', Number.NaN, 'ERR_DISPOSED'],
    ['a negative number', -1, 'ERR_DISPOSED'],
    ['a fraction', 0.5, 'ERR_DISPOSED'],
    ['infinity', Number.POSITIVE_INFINITY, 'ERR_DISPOSED'],
  ])('%s', (_, operand, code) => {
    expect(() => kernels.copy({ x: operand as number, y: array })).toThrow(expect.objectContaining({ code }));
  });

  test('raw arrays in an asynchronous job, and a wrong number of arguments', () => {
    expect(() => asyncKernels.copy({ x: array, y: array })).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
    expect(() => native.kernels.copy(array)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  });
});
