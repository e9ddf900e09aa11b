/** What has a process of its own: failures of the device, told as what they are, and the first use of its kernels. */
import { availableDevices } from '../../lib';
import { runChild } from './child';

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
}
