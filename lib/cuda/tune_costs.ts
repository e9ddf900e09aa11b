/** Measures on a CUDA device what the model of native/cuda/gemm/costs.cuh goes by. */

import { noGrad } from '../autograd';
import { full } from '../creation';
import { checkDevice, getCudaTf32, setCudaTf32, synchronize } from '../device';
import { DTYPES, type DType } from '../dtype';
import { native } from '../native';
import { linear, lowRankLinear } from '../ops';
import { tidy } from '../scope';
import type { Tensor } from '../tensor';
import type { GemmCosts } from './costs_file';
import { type ChainTimes, fitChains, fitTiles, type TileTimes } from './fit_costs';

export interface CostTuneOptions {
  /** Terms of the products, two numbers; multiples of 64. */
  readonly depths?: readonly [number, number];
  /** Blocks of threads that each multiprocessor has, beyond those that it holds at once, as a multiple of them. */
  readonly rounds?: number;
  /** Launches in a row that one time is of, and such times. */
  readonly launches?: number;
  readonly repeats?: number;
  /** [tokens, output, input, rank] of layers to compare one launch with two on. */
  readonly chains?: readonly (readonly [number, number, number, number])[];
  /** Told of each cost when it is known. */
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
  switches: { wgmma, tile: String(size) },
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

/** Nanoseconds of one run of `body`, which only launches: the least of several means, as other work only adds. */
function nanoseconds(body: () => void, launches: number, repeats: number): number {
  const means = Array.from({ length: repeats + 1 }, () => {
    synchronize();
    const start = performance.now();
    for (let i = 0; i < launches; i++) body();
    synchronize();
    return ((performance.now() - start) * 1e6) / launches;
  });
  // The first one makes the kernels ready. A clock may be too coarse for one launch.
  return Math.max(Math.min(...means.slice(1)), 1);
}

const matrix = (rows: number, columns: number, dtype: DType): Tensor =>
  tidy(() => full([rows, columns], 0.5, { device: 'cuda' }).as(dtype));

/** Times of a tile; null where this device has no such kernel. */
function timesOf({ kernel, size, dtype, tf32, switches }: Tile, options: Required<CostTuneOptions>): TileTimes | null {
  const { depths, rounds, launches, repeats } = options;
  setCudaTf32(tf32);
  native.setGemmSwitches(switches);
  const code = DTYPES[dtype].code;
  const plan = native.planProduct(size, size, depths[0], code);
  if (!plan.kernel.startsWith(kernel)) return null;
  const { multiprocessors, resident } = plan;
  const each = Math.max(2, rounds * resident);
  const time = (rows: number, depth: number) =>
    tidy(() => {
      const [x, w] = [matrix(rows, depth, dtype), matrix(size * multiprocessors, depth, dtype)];
      return nanoseconds(() => noGrad(() => tidy(() => void linear(x, w))), launches, repeats);
    });
  return {
    steps: [plan.steps, native.planProduct(size, size, depths[1], code).steps],
    single: [time(size, depths[0]), time(size, depths[1])],
    several: [time(each * size, depths[0]), time(each * size, depths[1])],
    each,
    resident,
    bytes: size * size * (dtype === 'bfloat16' ? 2 : 4),
  };
}

function chainTimes([m, n, k, rank]: readonly [number, number, number, number], launches: number, repeats: number) {
  return tidy((): ChainTimes => {
    const [x, v, u] = [matrix(m, k, 'bfloat16'), matrix(rank, k, 'bfloat16'), matrix(n, rank, 'bfloat16')];
    const time = (chains: string) => {
      native.setGemmSwitches({ chains });
      return nanoseconds(() => noGrad(() => tidy(() => void lowRankLinear(x, v, u))), launches, repeats);
    };
    return { together: time('on'), alone: time('off'), modelled: native.planChain(m, n, k, rank) };
  });
}

/**
 * The costs of this device, which are in use from then on. Takes seconds, and up to 300 MB of its memory. Those of kernels that it
 * has not, and what is not measured (group_patience, split_depth), keep their values. @throws {DeviceError}
 */
export function tuneCosts(options: CostTuneOptions = {}): GemmCosts {
  checkDevice('tune', 'cuda');
  const given = {
    depths: [1024, 4096] as const,
    rounds: 4,
    launches: 20,
    repeats: 5,
    chains: CHAINS,
    onCost: () => {},
    ...options,
  };
  const before = { switches: native.gemmSwitches(), costs: native.gemmCosts(), tf32: getCudaTf32() };
  let measured: Record<string, number> | undefined;
  try {
    // No sum is split: the blocks of a product are its tiles.
    native.setGemmCosts({ split_depth: Number.MAX_SAFE_INTEGER });
    const tiles = new Map<string, TileTimes>();
    for (const entry of TILES) {
      const times = timesOf(entry, given);
      if (times !== null) tiles.set(entry.name, times);
    }
    measured = fitTiles(tiles);
    native.setGemmCosts({ ...measured, split_depth: before.costs.split_depth! });
    native.setGemmSwitches({ wgmma: 'auto', tile: 'auto' });
    measured.chain_patience = fitChains(given.chains.map((layer) => chainTimes(layer, given.launches, given.repeats)));
  } finally {
    native.setGemmCosts({ ...before.costs, ...measured });
    native.setGemmSwitches(before.switches);
    setCudaTf32(before.tf32);
  }
  for (const [name, value] of Object.entries(measured)) given.onCost(name, value);
  return measured;
}
