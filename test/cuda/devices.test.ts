/** Several CUDA devices: names, memory, copies between them, training and recordings on one that is not the default. */
import { availableDevices, cudaStatus, DeviceError, OptionError, tensor, zeros } from '../../lib';
import { deviceCode, kindOf } from '../../lib/device';
import { native } from '../../lib/native';
import { runChild } from './child';

test.each(['cuda:x', 'cuda:01', 'cuda:-1', 'cuda:', 'cuda:1.0', 'cpu:0', 'CUDA', 'cuda:1e1', 'toString', ''])(
  '%p is the name of no device',
  (name) => {
    expect(() => zeros([1], { device: name as 'cpu' })).toThrow(
      new OptionError('full: device', 'one of cpu, cuda, cuda:N', name),
    );
  },
);

test('a device that there is not', () => {
  expect(() => tensor([1]).to('cuda:9')).toThrow(DeviceError);
  expect(() => tensor([1]).to('cuda:9')).toThrow(/^to: device 'cuda:9' is not (built|available): /);
  expect(() => native.allocate(1, 0, deviceCode('cuda:999999999'))).toThrow(
    expect.objectContaining({ code: 'ERR_DEVICE', message: expect.stringMatching(/^device 'cuda:\d+' is not /) }),
  );
  for (const code of [-1, 2, 258]) expect(() => native.allocate(1, 0, code)).toThrow(/no device has the number/);
});

test('kinds of devices, and what the addon calls them', () => {
  expect((['cpu', 'cuda', 'cuda:12'] as const).map((name) => [kindOf(name), deviceCode(name)])).toEqual([
    ['cpu', 0],
    ['cuda', 1],
    ['cuda', 1 + 256 * 13],
  ]);
});

if (cudaStatus().includes('PTX executor') || availableDevices().includes('cuda:1')) {
  const TWO = { PTXSIM_DEVICES: '2' };

  test('two devices', () => {
    expect(runChild('devices_child.ts', TWO)).toEqual({ printed: [], stderr: '', findings: [] });
  }, 240_000);

  test('the default one has the short name, whichever it is', () => {
    const { printed } = runChild('default_device_child.ts', { ...TWO, STRUCTURED_FFN_CUDA_DEVICE: '1' });
    expect(printed).toEqual({ devices: ['cpu', 'cuda', 'cuda:0'], names: ['cuda', 'cuda', 'cuda:0'] });
  }, 60_000);
}
