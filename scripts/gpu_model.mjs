// Data of some GPUs, and the model of a product's time on them. Figures: NVIDIA's A100 and H100 white papers and the
// CUDA programming guide's table of compute capabilities.

export const GPUS = [
  {
    name: 'A100',
    architecture: 'sm_80',
    multiprocessors: 108,
    clock: 1.41e9,
    tensorFlops: 312e12,
    bandwidth: 1.555e12,
    threads: 2048,
    blocks: 32,
    shared: 167936,
  },
  {
    name: 'H100',
    architecture: 'sm_90a',
    multiprocessors: 132,
    clock: 1.755e9,
    tensorFlops: 989e12,
    bandwidth: 3.35e12,
    threads: 2048,
    blocks: 32,
    shared: 233472,
  },
  {
    name: 'RTX 4090',
    architecture: 'sm_80',
    multiprocessors: 128,
    clock: 2.52e9,
    tensorFlops: 165e12,
    bandwidth: 1.008e12,
    threads: 1536,
    blocks: 24,
    shared: 102400,
  },
];

const REGISTERS = 65536;
const RESERVED_SHARED = 1024; // of each block

/** Blocks that a multiprocessor holds at once, and the part of its warps. */
export function occupancyOf(gpu, threads, registers, shared) {
  const warps = Math.ceil(threads / 32);
  // Registers are given to warps in units of 256, to four warps together.
  const perWarp = Math.ceil((registers * 32) / 256) * 256;
  const byRegisters = Math.floor((Math.floor(REGISTERS / perWarp / 4) * 4) / warps);
  const byShared = Math.floor(gpu.shared / (shared + RESERVED_SHARED));
  const byThreads = Math.floor(gpu.threads / (warps * 32));
  const blocks = Math.min(byRegisters, byShared, byThreads, gpu.blocks);
  return { blocks, percent: Math.round((100 * blocks * warps * 32) / gpu.threads) };
}

const TILE = 128;
const DEPTH = 64;
/**
 * Cycles until the first tile's operands arrive, and to store a tile: latencies that nothing hides if a block is alone.
 */
const FILL = 1500;

/**
 * Cycles in which a step of a tile reads and writes shared memory, at 128 bytes a cycle. The step copies its operands,
 * then reads them: with ldmatrix 96 rows for each of 8 warps (64 x 32 of the tile), with wgmma 192 rows for each of two
 * groups of warps (64 x 128).
 */
function sharedCycles(gpu) {
  const rows = gpu.architecture === 'sm_90a' ? 2 * (64 + 128) : 8 * (64 + 32);
  return ((rows + 2 * TILE) * DEPTH * 2) / 128;
}

/** Seconds of C [m, n] = A [m, k] Bᵀ, `batches` times, in bf16 with tiles of 128 x 128 x 64. */
export function timeOf(gpu, { m, n, k, batches = 1 }) {
  const tiles = batches * Math.ceil(m / TILE) * Math.ceil(n / TILE);
  const waves = Math.ceil(tiles / gpu.multiprocessors);
  const flopsPerCycle = gpu.tensorFlops / gpu.multiprocessors / gpu.clock;
  const steps = Math.ceil(k / DEPTH);
  const tensor = (2 * TILE * TILE * DEPTH) / flopsPerCycle;
  const cycles = waves * (steps * Math.max(tensor, sharedCycles(gpu)) + FILL + (TILE * TILE * 2) / 64);
  const bytes = batches * 2 * (m * k + n * k + m * n);
  return Math.max(cycles / gpu.clock, bytes / gpu.bandwidth);
}

/** The products of an up-projection d → 4d on `tokens` tokens; half of the columns' parameters at ratio 0.32. */
function layersOf(d, tokens) {
  const rank = Math.round((0.32 * 4 * d) / 5 / 64) * 64;
  const [blocks, out] = [4, 4 * d];
  return [
    ['dense', [{ m: tokens, n: out, k: d }]],
    [
      `LowRank, rank ${rank}`,
      [
        { m: tokens, n: rank, k: d },
        { m: tokens, n: out, k: rank },
      ],
    ],
    [
      `BlockShuffle, ${blocks} blocks`,
      [
        { m: tokens, n: d / blocks / blocks, k: d / blocks, batches: blocks * blocks },
        { m: tokens, n: out / blocks, k: d / blocks, batches: blocks },
      ],
    ],
  ];
}

/** The section of the report. */
export function modelOf(gpus) {
  const [width, tokens] = [2048, 8192];
  const rows = layersOf(width, tokens).map(([name, products]) => {
    const flops = products.reduce((sum, { m, n, k, batches = 1 }) => sum + 2 * m * n * k * batches, 0);
    const cells = gpus.map((gpu) => {
      const time = products.reduce((sum, product) => sum + timeOf(gpu, product), 0);
      return `${(time * 1e6).toFixed(0)} µs, ${((100 * flops) / time / gpu.tensorFlops).toFixed(0)} %`;
    });
    return `| ${name} | ${(flops / 1e9).toFixed(0)} | ${cells.join(' | ')} |`;
  });
  return `## A model of the time, not a measurement

bf16, one up-projection ${width} → ${4 * width} on ${tokens} tokens, and the part of the device's tensor peak that it would be. A block of threads
computes a tile of ${TILE} x ${TILE}; each step of ${DEPTH} terms takes the longer of its multiply-adds at the tensor cores' rate and its shared-memory
traffic at 128 bytes a cycle (8 warps read 96 rows each, with wgmma on the H100 two groups of warps 192 rows each; the copies write 256). To that come
${FILL} cycles for the first operands to arrive and the store of the tile, and the last wave of tiles is counted as if it were full.
Memory is counted once for each operand. All of it is an upper bound of what these kernels could do.

| layer | GFLOP | ${gpus.map(({ name }) => name).join(' | ')} |
| --- | --- | ${gpus.map(() => '---').join(' | ')} |
${rows.join('\n')}
`;
}
