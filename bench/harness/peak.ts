/** The machine's limits, measured in the same run as everything else. */
import { type Isa, setIsa, setNumThreads } from '../../lib/device';
import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { empty } from '../../lib/tensor';

export interface Peak {
  readonly isa: Isa;
  readonly threads: number;
  /** Multiply-adds in registers. */
  readonly gflops: number;
  /** Reads of an array larger than the caches. */
  readonly gbps: number;
}

/** More than any last-level cache that a core of a usual machine can fill. */
const BUFFER_FLOATS = 64e6;
const TASKS_PER_THREAD = 4;

/** The best of several: a limit is what the machine can do without other work. */
export function measurePeak(isa: Isa, threads: number, repeats: number): Peak {
  setIsa(isa);
  setNumThreads(threads);
  const out = empty([TASKS_PER_THREAD * threads]);
  const buffer = empty([BUFFER_FLOATS]);
  kernels.fill({ y: buffer, value: 1 });
  let gflops = 0;
  let gbps = 0;
  for (let i = 0; i < repeats; i++) {
    const counted = native.countedFlops();
    const start = performance.now();
    kernels.probe_flops({ out, iterations: 100_000 });
    const middle = performance.now();
    kernels.probe_bandwidth({ x: buffer, out });
    const end = performance.now();
    gflops = Math.max(gflops, (native.countedFlops() - counted) / (middle - start) / 1e6);
    gbps = Math.max(gbps, (4 * BUFFER_FLOATS) / (end - middle) / 1e6);
  }
  out.dispose();
  buffer.dispose();
  native.emptyCache();
  return { isa, threads, gflops, gbps };
}
