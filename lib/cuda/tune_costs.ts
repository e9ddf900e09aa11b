/** Measures on a CUDA device the constants of the model in native/cuda/gemm/costs.cuh. */

import { noGrad } from '../autograd';
import { full } from '../creation';
import { checkDevice, type Device, deviceCode, kindOf, synchronize } from '../device';
import { type DType, ELEMENTS } from '../dtype';
import { OptionError } from '../errors';
import { native } from '../native';
import { linear, lowRankLinear } from '../ops';
import { tidy } from '../scope';
import type { Tensor } from '../tensor';
import type { GemmCosts } from './costs_file';
import { type ChainTimes, fitChains, fitTiles, type TileTimes } from './fit_costs';

export interface CostTuneOptions {
  /** Default: 'cuda'. */
  readonly device?: Device;
  /** Terms of the products: two numbers, multiples of 64. */
  readonly depths?: readonly [number, number];
  /** Blocks of threads for each multiprocessor, as a multiple of what it holds at once. */
  readonly rounds?: number;
  /** Launches in a row for one time, and the number of such times. */
  readonly launches?: number;
  readonly repeats?: number;
  /** [tokens, output, input, rank] of layers on which one launch is compared with two. */
  readonly chains?: readonly (readonly [number, number, number, number])[];
  /** Called for each cost when it is known. */
  readonly onCost?: (name: string, value: number) => void;
}

interface Tile {
  readonly name: string;
  readonly kernel: string;
  readonly size: number;
  readonly dtype: DType;
  readonly tf32: boolean;
  readonly switches: Readonly<Record<string, string>>;
}

const tile = (name: string, kernel: string, size: number, dtype: DType, wgmma = 'off', tf32 = false): Tile => ({
  name,
  kernel,
  size,
  dtype,
  tf32,
  switches: { use_wgmma: wgmma, tile: String(size) },
});
const TILES: readonly Tile[] = [
  tile('bf16_64', 'gemm_bf16<64', 64, 'bfloat16'),
  tile('bf16_128', 'gemm_bf16<128', 128, 'bfloat16'),
  tile('wgmma', 'gemm_wgmma<', 128, 'bfloat16', 'auto'),
  tile('tf32_64', 'gemm_tf32<64', 64, 'float32', 'off', true),
  tile('tf32_128', 'gemm_tf32<128', 128, 'float32', 'off', true),
  tile('f32', 'gemm_f32<', 64, 'float32'),
];

const CHAINS = [
  [8192, 1024, 1024, 256],
  [16384, 1024, 512, 128],
  [16384, 2048, 1024, 256],
  [33792, 512, 512, 256],
] as const;

/** Nanoseconds of one run of `body`, which only launches: the smallest of several means, as other work only adds. */
function nanoseconds(body: () => void, { device, launches, repeats }: Required<CostTuneOptions>): number {
  const means = Array.from({ length: repeats + 1 }, () => {
    synchronize(device);
    const start = performance.now();
    for (let i = 0; i < launches; i++) body();
    synchronize(device);
    return ((performance.now() - start) * 1e6) / launches;
  });
  // The first run prepares the kernels. A clock may be too coarse for one launch.
  return Math.max(Math.min(...means.slice(1)), 1);
}

const matrix = (rows: number, columns: number, dtype: DType, device: Device): Tensor =>
  tidy(() => full([rows, columns], 0.5, { device }).as(dtype));

/** Times of a tile; null where this device has no such kernel. */
function timesOf({ kernel, size, dtype, tf32, switches }: Tile, options: Required<CostTuneOptions>): TileTimes | null {
  const { device, depths, rounds } = options;
  native.setSettings(deviceCode(device), { ...switches, tf32: tf32 ? 'on' : 'off' });
  const planOf = (depth: number) =>
    native.plan(deviceCode(device), 'product', [size, size, depth, native.dtypes[dtype]]);
  const plan = planOf(depths[0]);
  if (!plan.kernel.startsWith(kernel)) return null;
  const { multiprocessors, resident } = plan;
  const each = Math.max(2, rounds * resident);
  const time = (rows: number, depth: number) =>
    tidy(() => {
      const [x, w] = [matrix(rows, depth, dtype, device), matrix(size * multiprocessors, depth, dtype, device)];
      return nanoseconds(() => noGrad(() => tidy(() => void linear(x, w))), options);
    });
  return {
    steps: [plan.steps, planOf(depths[1]).steps],
    single: [time(size, depths[0]), time(size, depths[1])],
    several: [time(each * size, depths[0]), time(each * size, depths[1])],
    each,
    resident,
    bytes: size * size * ELEMENTS[dtype].bytes,
  };
}

function chainTimes(sizes: readonly [number, number, number, number], options: Required<CostTuneOptions>) {
  const [m, n, k, rank] = sizes;
  const { device } = options;
  const code = deviceCode(device);
  const filled = (rows: number, columns: number) => matrix(rows, columns, 'bfloat16', device);
  return tidy((): ChainTimes => {
    const [x, v, u] = [filled(m, k), filled(rank, k), filled(n, rank)];
    const time = (chains: string) => {
      native.setSettings(code, { use_chains: chains });
      return nanoseconds(() => noGrad(() => tidy(() => void lowRankLinear(x, v, u))), options);
    };
    return { together: time('on'), alone: time('off'), modelled: native.plan(code, 'chain', sizes) };
  });
}

/**
 * The costs of this device, in use from then on. Takes seconds, and up to 300 MB of the device's memory. Kernels that
 * it does not have, and costs that are not measured (group_patience, split_depth), keep their values. @throws
 * {DeviceError}
 */
export function tuneCosts(options: CostTuneOptions = {}): GemmCosts {
  const given: Required<CostTuneOptions> = {
    device: 'cuda',
    depths: [1024, 4096] as const,
    rounds: 4,
    launches: 20,
    repeats: 5,
    chains: CHAINS,
    onCost: () => {},
    ...options,
  };
  const { device } = given;
  checkDevice('tune', device);
  if (kindOf(device) === 'cpu') throw new OptionError('tune: device', 'a CUDA device', device);
  const code = deviceCode(device);
  const before = native.settings(code);
  let measured: Record<string, number> | undefined;
  try {
    // No sum is split: the blocks of a product are its tiles.
    native.setSettings(code, { split_depth: Number.MAX_SAFE_INTEGER });
    const tiles = new Map<string, TileTimes>();
    for (const entry of TILES) {
      const times = timesOf(entry, given);
      if (times !== null) tiles.set(entry.name, times);
    }
    measured = fitTiles(tiles);
    native.setSettings(code, { ...measured, split_depth: before.split_depth, use_wgmma: 'auto', tile: 'auto' });
    measured.chain_patience = fitChains(given.chains.map((layer) => chainTimes(layer, given)));
  } finally {
    native.setSettings(code, { ...before, ...measured });
  }
  for (const [name, value] of Object.entries(measured)) given.onCost(name, value);
  return measured;
}
