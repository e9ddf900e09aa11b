/** For devices.test.ts: what devices are called where the environment chooses the second one. */
import { availableDevices, zeros } from '../../lib';

const names = (['cuda', 'cuda:1', 'cuda:0'] as const).map((device) => zeros([1], { device }).device);
console.log(JSON.stringify({ devices: availableDevices(), names }));
