/** Weights of 8 bits: what a row that is not finite becomes, on every device and instruction set. */
import { availableDevices, availableIsas, type Device, getIsa, type Isa, setIsa, tensor } from '../../lib';
import { kernels } from '../../lib/kernels';
import { Storage } from '../../lib/storage';

const isa = getIsa();
afterAll(() => setIsa(isa));

const places: [Device, Isa][] = availableDevices().flatMap((device) =>
  (device === 'cpu' ? availableIsas() : [isa]).map((one): [Device, Isa] => [device, one]),
);

test.each(places)('on %s, %s: its scale is NaN, and those of the other rows are theirs', (device, one) => {
  setIsa(one);
  for (const columns of [1, 7, 33, 300])
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      for (const at of [0, columns - 1]) {
        const values = new Float32Array(3 * columns).fill(2);
        values[columns + at] = wrong;
        using y = new Storage(values.length, 'int8', device);
        using scales = new Storage(3, 'float32', device);
        kernels.quantize({ x: tensor(values).to(device), y, scales, rows: 3, columns });
        expect([...scales.toArray()]).toEqual([Math.fround(2 / 127), Number.NaN, Math.fround(2 / 127)]);
      }
});
