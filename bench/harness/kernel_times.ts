/** Where the time of a step goes: every kernel call of `body`, timed. */
import { native } from '../../lib/native';

/** Milliseconds by kernel. */
export function kernelTimes(body: () => void): Map<string, number> {
  const times = new Map<string, number>();
  const kernels = Object.entries(native.kernels);
  for (const [name, kernel] of kernels)
    Reflect.set(native.kernels, name, (...operands: unknown[]) => {
      const start = performance.now();
      kernel(...operands);
      times.set(name, (times.get(name) ?? 0) + performance.now() - start);
    });
  try {
    body();
  } finally {
    for (const [name, kernel] of kernels) Reflect.set(native.kernels, name, kernel);
  }
  return times;
}
