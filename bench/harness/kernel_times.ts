/** Where a step's time goes: every kernel call of `body`, timed. */
import { native } from '../../lib/native';

/** Milliseconds by kernel. */
export function kernelTimes(body: () => void): Map<string, number> {
  const times = new Map<string, number>();
  const kernels = Object.keys(native.async).map((name): [string, unknown] => [name, Reflect.get(native, name)]);
  for (const [name, kernel] of kernels) {
    if (typeof kernel !== 'function') continue;
    Reflect.set(native, name, (...operands: unknown[]) => {
      const start = performance.now();
      Reflect.apply(kernel, native, operands);
      times.set(name, (times.get(name) ?? 0) + performance.now() - start);
    });
  }
  try {
    body();
  } finally {
    for (const [name, kernel] of kernels) Reflect.set(native, name, kernel);
  }
  return times;
}
