/** Which kernel serves a product: by itself, and by the switches of the environment. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { availableDevices, cudaStatus, deviceCode, synchronize } from '../../lib/device';
import { native } from '../../lib/native';

const ROOT = join(__dirname, '..', '..');

/** What the addon calls 'cuda'. */
const CUDA = deviceCode('cuda');

type Served = Readonly<Record<string, Readonly<Record<string, number>>>>;

const runNode = (args: readonly string[], env: NodeJS.ProcessEnv, input?: string) =>
  spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', input, env: { ...process.env, ...env } });
const run = (cases: readonly string[], env: NodeJS.ProcessEnv) =>
  // On a device of 8 multiprocessors, small products are many.
  runNode(['-r', './scripts/register_ts.cjs', join('test', 'cuda', 'served.ts'), ...cases], {
    STRUCTURED_FFN_TF32: '0',
    PTXSIM_MULTIPROCESSORS: '8',
    // As much as an H100 has: chains of products need it.
    PTXSIM_SHARED_BYTES: '232448',
    ...env,
  });

function servedBy(cases: readonly string[], env: NodeJS.ProcessEnv): Served {
  const { status, stdout, stderr } = run(cases, env);
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Served;
}

const onExecutor = cudaStatus().includes('PTX executor');
const hasWgmma = cudaStatus().includes('compute capability 9.0');
/** On a GPU: what it has. On the executor: both. */
const CAPABILITIES = onExecutor ? ['90', '80'] : [hasWgmma ? '90' : '80'];

/** What each capability makes of a product, by itself. */
const TILES: Readonly<Record<string, Served>> = {
  '90': {
    large: { 'gemm_wgmma<1,1>': 1 },
    gradients: { 'gemm_wgmma<1,1>': 1, 'gemm_wgmma<1,0>': 1, 'gemm_wgmma<0,0>': 1 },
  },
  '80': {
    large: { 'gemm_bf16<128,1,1,1,0>': 1 },
    gradients: { 'gemm_bf16<128,1,1,1,0>': 1, 'gemm_bf16<128,1,0,1,0>': 1, 'gemm_bf16<128,0,0,1,0>': 1 },
  },
};
const ON_ALL: Served = {
  unaligned: { 'gemm_bf16<128,1,1,0,0>': 1 },
  small: { 'gemm_bf16<64,1,1,1,0>': 1 },
  rows: { 'gemm_skinny<bf16,4,1>': 1 },
  parts: { 'gemm_bf16<64,1,1,1,0>': 1, 'add_parts<bf16>': 1 },
  float32: { 'gemm_f32<1,1,1,0>': 1 },
};
const CHAINS: Readonly<Record<string, Served>> = {
  '90': { factors: { 'gemm_chain_wgmma<1,128>': 1 }, blocks: { 'gemm_chain_interleaved_wgmma<4>': 1 } },
  '80': { factors: { 'gemm_chain<1,128>': 1 }, blocks: { 'gemm_chain_interleaved<4>': 1 } },
};

const withCuda = () => {
  describe.each(CAPABILITIES)('compute capability %s', (capability) => {
    const env = { PTXSIM_COMPUTE_CAPABILITY: capability };
    const served = (cases: readonly string[], more: NodeJS.ProcessEnv) => servedBy(cases, { ...env, ...more });

    test('products go by their size, how they lie, and what the device has', () => {
      const expected = { ...TILES[capability], ...ON_ALL };
      expect(served(Object.keys(expected), {})).toEqual(expected);
      expect(served(['float32'], { STRUCTURED_FFN_TF32: '1' })).toEqual({ float32: { 'gemm_tf32<128,1,1,1,0>': 1 } });
    });

    if (onExecutor)
      test('both factors are one launch where that is better', () => {
        expect(served(['factors', 'blocks', 'few'], {})).toEqual({
          ...CHAINS[capability],
          few: { 'gemm_bf16<64,1,1,1,0>': 2 },
        });
      });

    test('STRUCTURED_FFN_CUDA_CHAINS', () => {
      const off = served(['factors', 'blocks', 'few'], { STRUCTURED_FFN_CUDA_CHAINS: 'off' });
      expect(off.factors).toEqual(capability === '90' ? { 'gemm_wgmma<1,1>': 2 } : { 'gemm_bf16<128,1,1,1,0>': 2 });
      expect(Object.keys(off.blocks!).join()).not.toMatch(/chain/);
      const on = served(['factors', 'blocks', 'few'], { STRUCTURED_FFN_CUDA_CHAINS: 'on' });
      const few = capability === '90' ? 'gemm_chain_wgmma<1,64>' : 'gemm_chain<1,64>';
      expect(on).toEqual({ ...CHAINS[capability], few: { [few]: 1 } });
    });

    test('STRUCTURED_FFN_CUDA_WGMMA', () => {
      const off = { STRUCTURED_FFN_CUDA_WGMMA: 'off', STRUCTURED_FFN_CUDA_CHAINS: 'on' };
      expect(served(['large', 'gradients', 'factors', 'blocks'], off)).toEqual({ ...TILES['80'], ...CHAINS['80'] });
      const on = { STRUCTURED_FFN_CUDA_WGMMA: 'on' };
      if (capability === '90')
        expect(served(['large', 'small', 'unaligned'], on)).toEqual({
          large: { 'gemm_wgmma<1,1>': 1 },
          small: { 'gemm_wgmma<1,1>': 1 },
          unaligned: ON_ALL.unaligned,
        });
      else
        expect(run(['large'], { ...env, ...on }).stderr).toMatch(
          /STRUCTURED_FFN_CUDA_WGMMA: expected auto or off on a device .* without wgmma .*, got 'on'/,
        );
    });

    test('STRUCTURED_FFN_CUDA_TILE', () => {
      const small = served(['large', 'small', 'unaligned'], { STRUCTURED_FFN_CUDA_TILE: '64' });
      expect(small).toEqual({
        large: { 'gemm_bf16<64,1,1,1,0>': 1 },
        small: { 'gemm_bf16<64,1,1,1,0>': 1 },
        unaligned: { 'gemm_bf16<64,1,1,0,0>': 1 },
      });
      const large = served(['large', 'small'], { STRUCTURED_FFN_CUDA_TILE: '128' });
      expect(large).toEqual({ large: TILES[capability]!.large, small: TILES[capability]!.large });
      expect(served(['float32'], { STRUCTURED_FFN_TF32: '1', STRUCTURED_FFN_CUDA_TILE: '64' })).toEqual({
        float32: { 'gemm_tf32<64,1,1,1,0>': 1 },
      });
    });
  });

  test.each([
    ['STRUCTURED_FFN_CUDA_CHAINS', 'auto, on, off'],
    ['STRUCTURED_FFN_CUDA_WGMMA', 'auto, on, off'],
    ['STRUCTURED_FFN_CUDA_TILE', 'auto, 64, 128'],
  ])('%s is refused where it is none of %s, whatever the product', (variable, expected) => {
    const { status, stderr } = run(['float32'], { [variable]: '96' });
    expect(status).toBe(1);
    expect(stderr).toContain(`${variable}: expected one of ${expected}, got '96'`);
    expect(stderr).toMatch(/code: 'ERR_OPTION'/);
  });

  test('switches are set by name, all or none', () => {
    const before = native.settings(CUDA);
    native.setSettings(CUDA, { tile: '64', use_chains: 'off' });
    expect(native.settings(CUDA)).toEqual({ ...before, tile: '64', use_chains: 'off' });
    const wrong: Record<string, string>[] = [{ tile: '96' }, { tile: 'auto', use_wgmma: 'maybe' }, { tiles: '64' }];
    for (const bad of wrong)
      expect(() => native.setSettings(CUDA, bad)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }));
    expect(native.settings(CUDA)).toEqual({ ...before, tile: '64', use_chains: 'off' });
    native.setSettings(CUDA, before);
  });

  if (onExecutor)
    test('launches are counted as the executor counts them', () => {
      const scratch = mkdtempSync(join(tmpdir(), 'launches-'));
      const path = join(scratch, 'report.json');
      const served = servedBy(['gradients', 'rows', 'parts', 'float32', 'factors', 'blocks'], { PTXSIM_REPORT: path });
      const { kernels, findings } = JSON.parse(readFileSync(path, 'utf8')) as {
        kernels: { name: string; launches: number }[];
        findings: unknown[];
      };
      rmSync(scratch, { recursive: true });
      expect(findings).toEqual([]);
      const short = `import { shortName } from './scripts/ptx_binary.mjs'; import { readFileSync } from 'node:fs';
        console.log(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map(shortName)));`;
      const names = kernels.map(({ name }) => name);
      const { stdout } = runNode(['--input-type=module', '-e', short], {}, JSON.stringify(names));
      const counted = (JSON.parse(stdout) as string[])
        .map((name, i) => [name, kernels[i]!.launches] as const)
        .filter(([name, launches]) => /^(gemm|add_parts)/.test(name) && launches > 0);
      const sums = new Map<string, number>();
      for (const launches of Object.values(served))
        for (const [kernel, count] of Object.entries(launches)) sums.set(kernel, (sums.get(kernel) ?? 0) + count);
      expect(Object.fromEntries(sums)).toEqual(Object.fromEntries(counted));
    });

  afterAll(() => synchronize());
};

const withoutCuda = () => {
  test('nothing was launched', () => expect(native.kernelLaunches()).toEqual({}));

  test.each<[string, () => unknown]>([
    ['settings', () => native.settings(CUDA)],
    ['costs', () => native.setSettings(CUDA, { latency: 1 })],
    ['a plan', () => native.plan(CUDA, 'product', [64, 64, 64, 0])],
  ])('%s say what is missing', (_, body) => {
    expect(body).toThrow(/device 'cuda' is not (built|available): \w+/);
  });
};

if (availableDevices().includes('cuda')) describe('with CUDA', withCuda);
else describe('without CUDA', withoutCuda);
