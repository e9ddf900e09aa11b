/** Tensors and modules on a CUDA device; without one, what a caller is told. */
import {
  add,
  availableDevices,
  clone,
  cudaStatus,
  DeviceError,
  DTypeError,
  emptyCache,
  items,
  memoryStats,
  OutOfMemoryError,
  setCudaDevice,
  square,
  sum,
  synchronize,
  tensor,
  tidy,
  zeros,
} from '../../lib';
import { native } from '../../lib/native';
import { Linear } from '../../lib/nn';
import { AdamW } from '../../lib/optim';
import { Generator } from '../../lib/random';
import { allocatedWithoutGarbage, withSpareMemory } from '../support/garbage';

const cuda = availableDevices().includes('cuda');

const withoutCuda = () => {
  test.each<[string, () => unknown]>([
    ['to', () => tensor([1]).to('cuda')],
    ['tensor', () => tensor([1], undefined, { device: 'cuda' })],
    ['zeros', () => zeros([2], { device: 'cuda' })],
    ['memoryStats', () => memoryStats('cuda')],
    ['synchronize', () => synchronize()],
    ['a module', () => new Linear({ inFeatures: 2, outFeatures: 2 }).to('cuda')],
  ])('%s says what is missing', (_, body) => {
    expect(body).toThrow(DeviceError);
    expect(body).toThrow(/device 'cuda' is not (built|available): \w+/);
  });

  test('choosing a device is refused', () => expect(() => setCudaDevice(0)).toThrow(DeviceError));

  test('the status says why', () => expect(cudaStatus()).toMatch(/^not (built|available): /));
};

const withCuda = () => {
  beforeEach(() => allocatedWithoutGarbage('cuda'));

  const on = { device: 'cuda' } as const;

  test('values go there and back', () => {
    const values = Float32Array.from({ length: 3000 }, (_, i) => i / 7);
    const there = tensor(values, [30, 100]).to('cuda');
    expect([there.device, there.shape, there.dtype]).toEqual(['cuda', [30, 100], 'float32']);
    expect(there.toArray()).toEqual(values);
    expect(there.to('cpu').data).toEqual(values);
    expect(clone(there).toArray()).toEqual(values);
    expect(tensor(Int32Array.of(3, -4)).to('cuda').toArray()).toEqual(Int32Array.of(3, -4));
    expect(tensor(new Float32Array(0), [0, 4]).to('cuda').toArray()).toEqual(new Float32Array(0));
    expect(there.to('cuda')).toBe(there);
  });

  test('gradients come back over a move', () => {
    const x = tensor([1, 2, 3], undefined, { requiresGrad: true });
    sum(square(x.to('cuda')))
      .to('cpu')
      .backward();
    expect(x.grad!.device).toBe('cpu');
    expect(Array.from(x.grad!.data)).toEqual([2, 4, 6]);
  });

  test('bfloat16 rounds to nearest, ties to even', () => {
    // 1 + 2^-8 lies between 1 and 1 + 2^-7; 1 + 3·2^-8 between 1 + 2^-7 and 1 + 2^-6.
    const values = [1 + 2 ** -8, 1 + 3 * 2 ** -8, -3.1401, 1e38, 0, Number.POSITIVE_INFINITY, Number.NaN];
    const expected = [1, 1 + 2 ** -6, -3.140625, 9.969209968386869e37, 0, Number.POSITIVE_INFINITY, Number.NaN];
    for (const device of ['cpu', 'cuda'] as const)
      expect(Array.from(tensor(values).to(device).as('bfloat16').toArray())).toEqual(expected);
  });

  test('the memory of a device has no typed array', () => {
    expect(() => zeros([2], on).data).toThrow(DeviceError);
    expect(() => tensor([1]).as('bfloat16').data).toThrow(DTypeError);
  });

  test('operands on two devices are named', () => {
    expect(() => add(zeros([2]), zeros([2], on))).toThrow(
      new DeviceError("add: operands on 'cpu' and 'cuda'; move one with .to(device)"),
    );
  });

  test('operands of two dtypes are named', () => {
    expect(() => add(zeros([2], on), zeros([2], { ...on, dtype: 'bfloat16' }))).toThrow(/float32 and bfloat16/);
  });

  test('memory is counted, kept for reuse, and given back', () => {
    const before = memoryStats('cuda').allocated;
    const x = zeros([1000], on);
    expect(memoryStats('cuda').allocated - before).toBeGreaterThanOrEqual(4000);
    x.dispose();
    expect(memoryStats('cuda').allocated).toBe(before);
    const { systemAllocations } = memoryStats('cuda');
    zeros([1000], on).dispose();
    const caches = process.env.STRUCTURED_FFN_NO_CUDA_MEMORY_CACHING !== '1';
    expect(memoryStats('cuda').systemAllocations).toBe(caches ? systemAllocations : systemAllocations + 1);
    // What nothing is in use of goes back.
    zeros([3_000_000], on).dispose();
    const { cached } = memoryStats('cuda');
    emptyCache('cuda');
    expect(cached - memoryStats('cuda').cached).toBeGreaterThanOrEqual(caches ? 12_000_000 : 0);
  });

  test('copies into a tensor, and the values of many read at once', () => {
    const x = zeros([2], on);
    expect(x.copyFrom(tensor([1, 2])).toArray()).toEqual(Float32Array.of(1, 2));
    expect(zeros([2], on).copyFrom(x).toArray()).toEqual(Float32Array.of(1, 2));
    expect(zeros([2]).copyFrom(x).data).toEqual(Float32Array.of(1, 2));
    // More than go in one launch.
    const scalars = Array.from({ length: 60 }, (_, i) => tensor([i], undefined, on));
    const before = native.countedSynchronizations();
    expect(items(scalars)).toEqual(scalars.map((_, i) => i));
    expect(native.countedSynchronizations() - before).toBe(1);
    expect(() => items([scalars[0]!, tensor(1)])).toThrow(DeviceError);
  });

  test('uploads wait for nothing', () => {
    const before = native.countedSynchronizations();
    for (let i = 0; i < 50; i++) tensor(new Float32Array(100_000).fill(i), [100_000], on).dispose();
    expect(native.countedSynchronizations()).toBe(before);
    // Longer than the ring of page-locked memory, there and back.
    const long = Float32Array.from({ length: 2_500_001 }, (_, i) => i);
    expect(tensor(long, [long.length], on).toArray()).toEqual(long);
  });

  test('out of memory can be caught, and everything goes on', async () => {
    await withSpareMemory(10_000, 'cuda', () => {
      expect(() => zeros([100_000], on)).toThrow(OutOfMemoryError);
      expect(() => zeros([100_000], on)).toThrow(/CUDA memory/);
      tidy(() => expect(zeros([10], on).toArray()).toEqual(new Float32Array(10)));
    });
    zeros([100_000], on).dispose();
  });

  test('a device that is not there is refused, and so is a change of mind', () => {
    expect(() => setCudaDevice(99)).toThrow(DeviceError);
    expect(() => setCudaDevice(-1)).toThrow();
  });

  test('a module moves in place: what refers to its parameters sees them move', () => {
    const layer = new Linear({ inFeatures: 3, outFeatures: 2, generator: new Generator(1) });
    const { weight } = layer;
    const values = weight.toArray();
    expect(layer.to('cuda')).toBe(layer);
    expect([weight.device, weight.toArray()]).toEqual(['cuda', values]);
    layer.to('cpu', 'bfloat16');
    expect([weight.device, weight.dtype]).toEqual(['cpu', 'bfloat16']);
    layer.dispose();
  });

  test('an optimizer made before the move names what moved', () => {
    const layer = new Linear({ inFeatures: 3, outFeatures: 2, generator: new Generator(1) });
    const optimizer = new AdamW(layer.namedParameters());
    layer.to('cuda');
    sum(layer.forward(zeros([1, 3], on))).backward();
    expect(() => optimizer.step()).toThrow(/AdamW: weight: operands on 'cpu' and 'cuda'/);
  });
};

if (cuda) describe('with CUDA', withCuda);
else describe('without CUDA', withoutCuda);
