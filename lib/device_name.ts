/**
 * The names of devices, whether they exist or not. This does not load the addon, so that the command line can use it.
 */
import { OptionError } from './errors';

/** The kinds of devices, with their numbers in the addon (native/tensor.h). */
export const KINDS = { cpu: 0, cuda: 1 } as const;
/** What devices of a kind have in common, such as the element types that they compute with. */
export type DeviceKind = keyof typeof KINDS;

/**
 * 'cuda' is the default CUDA device (`setCudaDevice`), 'cuda:1' the one that the driver calls 1. A device has one name:
 * a tensor's `device` is 'cuda' on the default one, by whichever name it was requested.
 */
export type Device = DeviceKind | `cuda:${number}`;

/** cuda, or cuda:1 with a number in its usual form. */
const NAME = /^(?:cpu|cuda(?::(?:0|[1-9]\d{0,8}))?)$/;

/** @throws {OptionError} unless it is the name of a device, existing or not. */
export function checkDeviceName(where: string, device: unknown): asserts device is Device {
  if (typeof device !== 'string' || !NAME.test(device))
    throw new OptionError(where, 'one of cpu, cuda, cuda:N', device);
}

/** Whether it has no number. Every op asks: comparing is faster than looking the name up. */
export const isKind = (device: Device): device is DeviceKind => device === 'cpu' || device === 'cuda';

/** The same with a number for the CPU too, as the library itself counts devices. @throws {OptionError} */
export function checkKnown(device: unknown): asserts device is Device {
  if (typeof device !== 'string' || !/^(?:cpu|cuda):\d{1,9}$/.test(device)) checkDeviceName('device', device);
}

/** 'cuda' of 'cuda:1'. */
export function kindOf(device: Device): DeviceKind {
  if (isKind(device)) return device;
  checkKnown(device);
  return device.split(':', 1)[0] as DeviceKind;
}

/** What the addon calls a device. */
export function deviceCode(device: Device): number {
  if (isKind(device)) return device === 'cpu' ? KINDS.cpu : KINDS.cuda;
  checkKnown(device);
  const [kind, index] = device.split(':');
  return KINDS[kind as DeviceKind] + 256 * (Number(index) + 1);
}
