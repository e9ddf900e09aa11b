/** How much memory this process takes, as Linux counts it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { memoryStats, resetPeakMemory } from '../../lib/device';

const kilobytes = (field: string): number =>
  Number(readFileSync('/proc/self/status', 'utf8').match(new RegExp(`^${field}:\\s+(\\d+)`, 'm'))?.[1]);

/** Starts to watch; the returned function gives the largest growth so far, in bytes. */
export function watchGrowth(): () => number {
  try {
    // Resets the kernel's high-water mark.
    writeFileSync('/proc/self/clear_refs', '5');
    const before = kilobytes('VmRSS');
    return () => 1024 * (kilobytes('VmHWM') - before);
  } catch {
    resetPeakMemory();
    const before = memoryStats().allocated;
    return () => memoryStats().peak - before;
  }
}
