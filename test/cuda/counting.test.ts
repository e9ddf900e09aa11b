/** What a feedforward network spends on a device, counted: exactly the formula's operations, none of them twice. */
import { availableDevices, type DType, type Tensor, tidy } from '../../lib';
import { native } from '../../lib/native';
import { feedForward } from '../../lib/ops';
import { linearDims } from '../../lib/ops/linear_dims';
import { Generator } from '../../lib/random';
import { STRUCTURE_NAMES } from '../../lib/structures';
import type { Shape } from '../../lib/tensor';
import { smallShapes } from '../support/structures';

test('the CPU is one of the devices', () => expect(availableDevices()).toContain('cpu'));

for (const device of availableDevices())
  describe.each<DType>(device === 'cpu' ? ['float32'] : ['float32', 'bfloat16'])(`${device} %s`, (dtype) => {
    test.each(STRUCTURE_NAMES)('%s: a feedforward network costs its layers, backward twice that', (structure) => {
      const [first, second] = [smallShapes(structure, 24, 96), smallShapes(structure, 96, 24)];
      const generator = new Generator(5);
      const leaf = (shape: Shape): Tensor => {
        const drawn = generator.normal(shape).as(dtype).to(device);
        drawn.requiresGrad = true;
        return drawn;
      };
      const flopsOf = (body: () => void): number => {
        const before = native.countedFlops();
        body();
        return native.countedFlops() - before;
      };
      tidy(() => {
        const [fc1, fc2] = [first, second].map(({ v, u }) => ({ v: v && leaf(v), u: leaf(u) })) as [
          { v: Tensor | null; u: Tensor },
          { v: Tensor | null; u: Tensor },
        ];
        const tokens = 33;
        const x = leaf([tokens, 24]);
        const macs = [first, second].reduce((total, { v, u }) => total + linearDims('test', v, u).macs, 0);
        let y: Tensor | undefined;
        expect(flopsOf(() => (y = feedForward(x, fc1, fc2, 'gelu')))).toBe(2 * macs * tokens);
        expect(flopsOf(() => y?.backward(y))).toBe(4 * macs * tokens);
      });
    });
  });
