/**
 * Stage a: whether the addon loads and sees the device, and the device's limits. Exits with 1 if it does not see the
 * device: nothing else can run then.
 */
import { availableDevices, cudaStatus, memoryStats, noGrad, relu, type Tensor, zeros } from '../lib';
import { kernels } from '../lib/kernels';
import { native } from '../lib/native';
import { Script } from './support/options';
import { round, settle } from './support/timing';

const script = new Script();
const { device, size } = script;

const say = (name: string, value: number | string, unit?: string) => script.emit({ kind: 'fact', name, value, unit });

say('Node', process.version);
say('CUDA', cudaStatus());
if (!availableDevices().includes(device)) {
  console.log(`the addon does not see device '${device}': ${cudaStatus()}`);
  process.exit(1);
}

const on = (length: number): Tensor => zeros([length], { device });

/** Seconds of one of several calls, after one warm-up call. */
function seconds(calls: number, body: () => void): number {
  body();
  settle(device);
  const begin = performance.now();
  for (let i = 0; i < calls; i++) body();
  settle(device);
  return (performance.now() - begin) / calls / 1e3;
}

const begin = performance.now();
on(1).dispose();
settle(device);
say('first tensor', round(performance.now() - begin, 0), 'ms');

const [length, calls, iterations] =
  size === 'full' ? [2 ** 26, 2000, 20000] : size === 'small' ? [2 ** 20, 100, 500] : [2 ** 10, 2, 10];
const bytes = 4 * length;
const [host, a, b] = [zeros([length]), on(length), on(length)];
const rate = (moved: number, time: number) => round(moved / time / 1e9, 1);
say(
  'host to device',
  rate(
    bytes,
    seconds(3, () => native.transfer(host.handle, a.handle)),
  ),
  'GB/s',
);
say(
  'device to host',
  rate(
    bytes,
    seconds(3, () => native.transfer(a.handle, host.handle)),
  ),
  'GB/s',
);
say(
  'device to device, read and written',
  rate(
    2 * bytes,
    seconds(20, () => kernels.copy({ x: a.handle, y: b.handle })),
  ),
  'GB/s',
);

// Enough for every thread of any GPU to leave its result.
const out = on(2 ** 12);
say(
  'read',
  rate(
    bytes,
    seconds(20, () => kernels.probe_bandwidth({ x: a.handle, out: out.handle })),
  ),
  'GB/s',
);
const before = native.countedFlops();
const repeats = 3;
const time = seconds(repeats, () => kernels.probe_flops({ out: out.handle, iterations, pairs: 0 }));
say('float32 multiply-adds', round((native.countedFlops() - before) / (repeats + 1) / time / 1e12, 3), 'TFLOP/s');

const small = on(256);
const launch = performance.now();
for (let i = 0; i < calls; i++) kernels.fill({ y: small.handle, value: i });
const enqueued = performance.now();
settle(device);
say('one small kernel, enqueued', round((1e3 * (enqueued - launch)) / calls, 2), 'µs');
say('one small kernel, done', round((1e3 * (performance.now() - launch)) / calls, 2), 'µs');

const microseconds = (body: () => void) => round(1e6 * seconds(calls, body), 2);
say(
  'synchronize() when idle',
  microseconds(() => settle(device)),
  'µs',
);
const scalar = on(1);
say(
  'item()',
  microseconds(() => scalar.item()),
  'µs',
);
const x = zeros([16, 256], { device });
say(
  'a small op and its dispose()',
  microseconds(() => noGrad(() => relu(x).dispose())),
  'µs',
);
say('memory allocated', memoryStats(device).allocated, 'bytes');
