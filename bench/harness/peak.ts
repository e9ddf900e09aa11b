/** The machine's limits, measured in the same run as everything else. */
import { type Isa, setIsa, setNumThreads } from '../../lib/device';
import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { empty, type Tensor } from '../../lib/tensor';

export interface Peak {
  readonly isa: Isa;
  readonly threads: number;
  /** Multiply-adds of float32 in registers. */
  readonly gflops: number;
  /** Those of bfloat16, by pairs where the processor has them, else of float32. Older files do not have it. */
  readonly bfloat16?: number;
  /** Reads of an array larger than the caches. */
  readonly gbps: number;
}

/** More than any last-level cache that a core of a usual machine can fill. */
const BUFFER_FLOATS = 64e6;
const TASKS_PER_THREAD = 4;

/** The better of two measurements of the same limit. */
export const betterPeak = (a: Peak, b: Peak): Peak => ({
  ...a,
  gflops: Math.max(a.gflops, b.gflops),
  bfloat16: Math.max(a.bfloat16 ?? 0, b.bfloat16 ?? 0),
  gbps: Math.max(a.gbps, b.gbps),
});

/** GFLOP/s in registers. */
function probeFlops(out: Tensor, pairs: boolean): number {
  const counted = native.countedFlops();
  const start = performance.now();
  kernels.probe_flops({ out, iterations: 100_000, pairs: pairs ? 1 : 0 });
  return (native.countedFlops() - counted) / (performance.now() - start) / 1e6;
}

/** GB/s of reading a buffer. */
function probeReads(buffer: Tensor, out: Tensor): number {
  const start = performance.now();
  kernels.probe_bandwidth({ x: buffer, out });
  return (4 * buffer.size) / (performance.now() - start) / 1e6;
}

/** The best of several: a limit is what the machine can do without other work. */
export function measurePeak(isa: Isa, threads: number, repeats: number): Peak {
  setIsa(isa);
  setNumThreads(threads);
  const out = empty([TASKS_PER_THREAD * threads]);
  const buffer = empty([BUFFER_FLOATS]);
  kernels.fill({ y: buffer, value: 1 });
  const measure = (): Peak => ({
    isa,
    threads,
    gflops: probeFlops(out, false),
    bfloat16: probeFlops(out, true),
    gbps: probeReads(buffer, out),
  });
  const peak = Array.from({ length: repeats }, measure).reduce(betterPeak);
  out.dispose();
  buffer.dispose();
  native.emptyCache();
  return peak;
}
