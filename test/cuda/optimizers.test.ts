/** Muon and clipping on a device: what they are on the CPU, and a decision that the device makes alone. */
import { availableDevices, type Device, type DType, parameter, type Tensor, tensor, tidy } from '../../lib';
import { clipGradNorm, Muon, newtonSchulz } from '../../lib/optim';
import { relativeError } from '../support/check_op';
import { TestRandom } from '../support/random';

const SHAPES = [[24, 40], [33, 7], [2, 12, 9], [5]];

/** Three clipped steps, the last of which may have a gradient that is not finite: parameters and state. */
function train(device: Device, dtype: DType, steps = 3, spoil: number | null = null) {
  return tidy(() => {
    const random = new TestRandom(3);
    const rounded = (shape: readonly number[]) =>
      tensor(random.array(shape.reduce((n, s) => n * s, 1)), shape, { dtype: 'bfloat16' }).toArray();
    const make = (shape: readonly number[]) => tensor(rounded(shape), shape, { device, dtype });
    const all = new Map(SHAPES.map((shape, i) => [`p${i}`, parameter(make(shape))] as const));
    const optimizer = new Muon(all, { lr: 0.05 });
    let gradNorm = 0;
    for (let step = 0; step < steps; step++) {
      for (const [name, p] of all) {
        const values = rounded(p.shape);
        if (step === steps - 1 && name === 'p1' && spoil !== null) values[3] = spoil;
        p.grad = tensor(values, p.shape, { device, dtype });
      }
      ({ gradNorm } = optimizer.step({ maxGradNorm: 0.5 }));
      optimizer.zeroGrad();
    }
    const { stepCount, tensors } = optimizer.stateDict();
    const plain = (map: ReadonlyMap<string, Tensor>) => new Map([...map].map(([name, t]) => [name, t.toArray()]));
    const result = { gradNorm, stepCount, values: plain(all), state: plain(tensors) };
    optimizer.dispose();
    return result;
  });
}

const onDevice = (device: Device) => {
  test('Muon steps as on the CPU', () => {
    const [actual, expected] = [train(device, 'float32'), train('cpu', 'float32')];
    for (const [name, values] of expected.values)
      expect(relativeError(actual.values.get(name)!, values)).toBeLessThan(1e-5);
    expect(Math.abs(actual.gradNorm / expected.gradNorm - 1)).toBeLessThan(1e-6);
  });

  test('Muon keeps float32 masters of bfloat16 matrices', () => {
    const [actual, expected] = [train(device, 'bfloat16'), train('cpu', 'float32')];
    for (const [name, values] of expected.values) {
      const master = actual.state.get(`${name}.master`)!;
      // Three updates of 0.05, each orthogonal within what bfloat16 products allow.
      expect(relativeError(master, values)).toBeLessThan(1e-2);
      expect(actual.values.get(name)).toEqual(tensor(master, undefined, { dtype: 'bfloat16' }).toArray());
    }
  });

  const largestOf = (largest: number) => {
    const values = new TestRandom(6).array(24 * 40);
    const most = values.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
    return values.map((value) => (value / most) * largest);
  };
  const orthogonal = (values: Float32Array, place: Device, dtype: DType) =>
    tidy(() => newtonSchulz(tensor(values, [24, 40], { device: place }), { dtype }).toArray());

  test.each([1e18, 3e38, 1e-30])('newtonSchulz of elements up to %d is that of the CPU', (largest) => {
    const values = largestOf(largest);
    const [actual, expected] = [orthogonal(values, device, 'float32'), orthogonal(values, 'cpu', 'float32')];
    expect(relativeError(actual, expected)).toBeLessThan(1e-5);
  });

  test('newtonSchulz in bfloat16 gives the same for large elements, and next to nothing for tiny ones', () => {
    const values = largestOf(1);
    const large = values.map((value) => value * 2 ** 100);
    expect(orthogonal(large, device, 'bfloat16')).toEqual(orthogonal(values, device, 'bfloat16'));
    // So small that the iteration is linear: each step multiplies by 3.4445, rounded to 8 bits.
    const tiny = orthogonal(
      values.map((value) => value * 2 ** -100),
      device,
      'bfloat16',
    );
    const expected = values.map((value) => ((value * 2 ** -100) / 1e-7) * 3.4445 ** 5);
    expect(relativeError(tiny, expected)).toBeLessThan(3e-2);
  });

  test('a norm that float32 has no room for squares of counts as infinite', () => {
    const p = parameter(tensor([1, 1], undefined, { device }));
    p.grad = tensor([1e19, 1e19], undefined, { device });
    expect(clipGradNorm([p], 0).item()).toBe(Number.POSITIVE_INFINITY);
    expect([...p.grad!.toArray()]).toEqual([Number.NaN, Number.NaN]);
  });

  test.each<[DType, number]>([
    ['float32', Number.NaN],
    ['float32', Number.POSITIVE_INFINITY],
    ['bfloat16', Number.NaN],
  ])('Muon in %s takes no step on a gradient of %p', (dtype, spoil) => {
    const [actual, expected] = [train(device, dtype, 3, spoil), train(device, dtype, 2)];
    // The draws of the third step are the only difference.
    expect([actual.values, actual.state, actual.stepCount]).toEqual([expected.values, expected.state, 2]);
    expect(Number.isFinite(actual.gradNorm)).toBe(false);
  });

  test('gradients are clipped where they are', () => {
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const p = parameter(tensor([1, 1], undefined, { device, dtype }));
      p.grad = tensor([6, 8], undefined, { device, dtype });
      const norm = clipGradNorm([p], 5);
      expect([norm.device, norm.item()]).toEqual([device, 10]);
      expect([...p.grad.toArray()]).toEqual([expect.closeTo(3, 5), expect.closeTo(4, 5)]);
    }
  });
};

const devices = availableDevices().filter((device) => device !== 'cpu');
if (devices.length > 0) describe.each(devices)('on %s', onDevice);
else test('there is no device here', () => expect(availableDevices()).toEqual(['cpu']));
