/** What has a process of its own: failures of the device, told as what they are, and the first use of its kernels. */
import { availableDevices } from '../../lib';
import { runChild } from './child';
import type { StepMemory } from './step_memory_child';

test('the CPU has no such failures', () => expect(availableDevices()).toContain('cpu'));

if (availableDevices().includes('cuda')) {
  test('a failure of earlier work, met by an allocation, is not taken for a lack of memory', () => {
    expect(runChild('failure_child.ts').printed).toMatchObject({
      name: 'SffnError',
      code: 'ERR_CUDA',
      message: expect.stringMatching(/allocating memory: an illegal memory access/),
    });
  }, 60_000);

  test('a step of decoding has loaded its kernels before it is recorded', () => {
    expect(runChild('first_step_child.ts')).toEqual({ printed: { same: true }, stderr: '', findings: [] });
  }, 60_000);

  test('a repeated step holds no more memory than it needs, and only the eight latest kinds hold any', () => {
    const { needed, before, large, small } = runChild('step_memory_child.ts').printed as StepMemory;
    // A step has eleven arrays, each rounded up to 512 bytes.
    const expectGrowth = (after: number, bytes: number, steps: number) => {
      expect(after - before).toBeGreaterThanOrEqual(bytes);
      expect(after - before).toBeLessThan(bytes + steps * 11 * 512);
    };
    expectGrowth(large[0]!, needed * 16, 1);
    expect(new Set(large).size).toBe(1);
    expectGrowth(small, needed * 36, 8); // of 1 to 8 tokens
  }, 60_000);
}
