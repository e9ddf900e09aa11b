/** What `tune --device cuda` measures for the choice of kernels: the fit, the file, and that the file is gone by. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeviceError, FormatError } from '../../lib';
import { defaultCostsPath, loadCosts, saveCosts } from '../../lib/cuda/costs_file';
import { fitChains, fitTile, fitTiles, type TileTimes } from '../../lib/cuda/fit_costs';
import { tuneCosts } from '../../lib/cuda/tune_costs';
import { availableDevices, cudaStatus, deviceCode } from '../../lib/device';
import { native } from '../../lib/native';

/** What the addon calls 'cuda'. */
const CUDA = deviceCode('cuda');
const ROOT = join(__dirname, '..', '..');
/** Bytes of shared memory, on the executor: chains of products need what an H100 has. */
const H100_SHARED = '232448';
const scratch = mkdtempSync(join(tmpdir(), 'costs-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const file = (name: string) => join(scratch, name);

/** What the model of native/cuda/gemm/costs.cuh says of a tile with these costs. */
function modelled(step: number, resident: number, bytes = 32768): TileTimes {
  const { latency, stall, store } = SHARED;
  const stores = (bytes / 128) * store;
  const [each, depths] = [4 * resident, [16, 64] as const];
  const single = depths.map((steps) => latency + steps * (stall + step) + stores) as [number, number];
  const several = depths.map((steps, i) =>
    resident > 1 ? latency + each * (steps * step + stores) : each * single[i]!,
  ) as [number, number];
  return { steps: depths, single, several, each, resident, bytes };
}
const SHARED = { latency: 900, stall: 70, store: 1.25 };

describe('the fit', () => {
  test('finds the costs of a tile whose blocks share a multiprocessor', () => {
    const costs = fitTile(modelled(360, 3), null);
    expect(costs.step).toBeCloseTo(360, 6);
    for (const name of ['latency', 'stall', 'store'] as const) expect(costs[name]).toBeCloseTo(SHARED[name], 6);
  });

  test('takes what a block alone cannot tell from the other tiles', () => {
    const costs = fitTiles(
      new Map([
        ['bf16_64', modelled(200, 4, 8192)],
        ['bf16_128', modelled(580, 1)],
        ['wgmma', modelled(360, 2)],
      ]),
    );
    expect(Object.keys(costs).sort()).toEqual(['bf16_128', 'bf16_64', 'latency', 'stall', 'store', 'wgmma']);
    const expected: Record<string, number> = { ...SHARED, bf16_64: 200, bf16_128: 580, wgmma: 360 };
    for (const [name, value] of Object.entries(costs)) expect(value).toBeCloseTo(expected[name]!, 6);
  });

  test('has no cost that is nothing, whatever was measured', () => {
    for (const resident of [1, 2]) {
      const noise: TileTimes = { ...modelled(100, resident), single: [5000, 400], several: [9000, 10] };
      for (const value of Object.values(fitTiles(new Map([['f32', noise]])))) expect(value).toBeGreaterThan(0);
    }
  });

  test('is patient with chains as far as they are better than the model says', () => {
    const modelledTimes = { together: 300, alone: 200 };
    expect(fitChains([{ together: 100, alone: 100, modelled: modelledTimes }])).toBeCloseTo(1.5, 9);
    expect(
      fitChains([
        { together: 50, alone: 100, modelled: modelledTimes },
        { together: 200, alone: 100, modelled: modelledTimes },
      ]),
    ).toBeCloseTo(1.5, 9);
  });
});

describe('the file', () => {
  test('keeps the costs of each GPU, the latest', () => {
    const path = file('gpus.json');
    expect(loadCosts('A', path)).toBeNull();
    saveCosts('A', { latency: 1 }, path);
    saveCosts('B', { latency: 2 }, path);
    saveCosts('A', { latency: 3, stall: 4 }, path);
    expect([loadCosts('A', path), loadCosts('B', path), loadCosts('C', path)]).toEqual([
      { latency: 3, stall: 4 },
      { latency: 2 },
      null,
    ]);
    expect(loadCosts('A', '')).toBeNull();
  });

  test.each<[string, string]>([
    ['no JSON', '{'],
    ['another file', '{"format": "structured-ffn crossovers", "version": 1}'],
    ['a later version', '{"format": "structured-ffn gemm costs", "version": 2, "gpus": {}}'],
    ['a cost of nothing', '{"format": "structured-ffn gemm costs", "version": 1, "gpus": {"A": {"latency": 0}}}'],
    [
      'a cost that is no number',
      '{"format": "structured-ffn gemm costs", "version": 1, "gpus": {"A": {"stall": "1"}}}',
    ],
  ])('is refused where it is %s', (_, text) => {
    const path = file('wrong.json');
    writeFileSync(path, text);
    expect(() => loadCosts('A', path)).toThrow(FormatError);
    expect(() => loadCosts('A', path)).toThrow(path);
  });

  test('is named by STRUCTURED_FFN_CUDA_COSTS, or in the cache folder', () => {
    const { STRUCTURED_FFN_CUDA_COSTS: named, XDG_CACHE_HOME: cache } = process.env;
    const restore = (name: string, value: string | undefined) => {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    };
    process.env.STRUCTURED_FFN_CUDA_COSTS = file('named.json');
    expect(defaultCostsPath()).toBe(file('named.json'));
    delete process.env.STRUCTURED_FFN_CUDA_COSTS;
    process.env.XDG_CACHE_HOME = scratch;
    expect(defaultCostsPath()).toBe(join(scratch, 'structured-ffn', 'gemm_costs.json'));
    restore('STRUCTURED_FFN_CUDA_COSTS', named);
    restore('XDG_CACHE_HOME', cache);
  });
});

const withCuda = () => {
  const before = native.settings(CUDA);
  afterEach(() => native.setSettings(CUDA, before));

  test('costs are set by name, all or none', () => {
    native.setSettings(CUDA, { latency: 7, chain_patience: 0.5 });
    expect(native.settings(CUDA)).toEqual({ ...before, latency: 7, chain_patience: 0.5 });
    for (const bad of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => native.setSettings(CUDA, { stall: 1, latency: bad })).toThrow(
        /latency: expected a positive finite number, got (-?\d|nan|inf)/,
      );
    expect(() => native.setSettings(CUDA, { patience: 1 })).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }));
    expect(native.settings(CUDA)).toEqual({ ...before, latency: 7, chain_patience: 0.5 });
  });

  test('the model says what a launch takes; tuning measures every kernel of the device, and leaves the rest as it was', () => {
    // What the executor takes says nothing, and a GPU has its own `structured-ffn tune`.
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['-r', './scripts/register_ts.cjs', 'test/cuda/tune_child.ts'],
      {
        cwd: ROOT,
        encoding: 'utf8',
        env: { ...process.env, PTXSIM_MULTIPROCESSORS: '1', PTXSIM_SHARED_BYTES: H100_SHARED },
      },
    );
    expect(stderr).toBe('');
    const { measured, found, before, after, kernel, chain, doubled, plan } = JSON.parse(stdout);
    expect(chain.kernel).toMatch(/^gemm_chain/);
    expect(doubled.together / chain.together).toBeCloseTo(2, 9);
    expect(doubled.alone / chain.alone).toBeCloseTo(2, 9);
    expect([plan.blocks, plan.steps, plan.resident > 0, plan.multiprocessors > 0]).toEqual([5, 4, true, true]);
    const names = ['bf16_128', 'bf16_64', 'chain_patience', 'f32', 'latency', 'stall', 'store', 'tf32_128', 'tf32_64'];
    const wgmma = kernel.startsWith('gemm_wgmma') ? ['wgmma'] : [];
    expect(Object.keys(measured).sort()).toEqual([...names, ...wgmma].sort());
    expect(Object.values<number>(measured).every((value) => Number.isFinite(value) && value > 0)).toBe(true);
    expect(found).toEqual(measured);
    expect(after).toEqual({ ...before, ...measured });
  }, 60_000);

  test('a process goes by the file of its GPU from the first use of the device on', () => {
    const path = file('gone_by.json');
    const served = (env: NodeJS.ProcessEnv) =>
      spawnSync(process.execPath, ['-r', './scripts/register_ts.cjs', 'test/cuda/served.ts', 'factors'], {
        cwd: ROOT,
        encoding: 'utf8',
        env: { ...process.env, PTXSIM_SHARED_BYTES: H100_SHARED, STRUCTURED_FFN_CUDA_COSTS: path, ...env },
      });
    saveCosts('another GPU', { chain_patience: 1e-6 }, path);
    expect(served({}).stdout).toMatch(/gemm_chain/);
    saveCosts(cudaStatus(), { chain_patience: 1e-6 }, path);
    expect(served({}).stdout).toMatch(/gemm_(wgmma|bf16)/);
    expect(served({}).stdout).not.toMatch(/gemm_chain/);
    expect(served({ STRUCTURED_FFN_CUDA_COSTS: '' }).stdout).toMatch(/gemm_chain/);
    saveCosts(cudaStatus(), { of_nothing: 1 }, path);
    expect(served({}).stderr).toMatch(/FormatError.*gone_by\.json: settings: 'of_nothing' is none of them/);
    expect(JSON.parse(readFileSync(path, 'utf8')).gpus['another GPU']).toEqual({ chain_patience: 1e-6 });
  });
};

const withoutCuda = () => {
  test('tuning says what is missing', () => expect(() => tuneCosts()).toThrow(DeviceError));
};

if (availableDevices().includes('cuda')) describe('with CUDA', withCuda);
else describe('without CUDA', withoutCuda);
