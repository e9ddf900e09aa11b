/** Devices, threads, instruction sets and memory: what the computation runs on. */
import type { NativeMemoryStats } from '../types/native';
import { defaultCostsPath, loadCosts } from './cuda/costs_file';
import {
  checkDeviceName,
  checkKnown,
  type Device,
  type DeviceKind,
  deviceCode,
  isKind,
  KINDS,
  kindOf,
} from './device_name';
import { checkChoice, checkInteger, DeviceError, FormatError, OptionError, runNative } from './errors';
import { native } from './native';

export { getNumThreads, setNumThreads } from './threads';
export { checkDeviceName, type Device, type DeviceKind, deviceCode, kindOf };

/** Instruction sets that the CPU kernels are compiled for. */
export type Isa = 'avx512bf16' | 'avx512' | 'avx2' | 'baseline' | 'neon';
/** What the allocator of a device has counted. */
export type MemoryStats = Readonly<NativeMemoryStats>;

/** @throws {DeviceError} when the device is not usable here, with what is missing. @throws {OptionError} */
export function checkDevice(where: string, device: unknown): asserts device is Device {
  if (device === 'cpu') return;
  checkDeviceName(where, device);
  const code = deviceCode(device);
  if (!native.available(code)) throw new DeviceError(`${where}: device '${device}' is ${native.status(code)}`);
  useMeasuredCosts(deviceName(device));
}

/** The only name of a device: without a number for the default one of its kind. */
export function deviceName(device: Device): Device {
  if (isKind(device)) return device;
  checkKnown(device);
  const kind = kindOf(device);
  return device === `${kind}:${runNative(() => native.defaultDevice(KINDS[kind]))}` ? kind : device;
}

const withKnownCosts = new Set<Device>();

/** Loads what was measured on this GPU for the choice of its kernels, if anything, at its first use. */
function useMeasuredCosts(device: Device): void {
  if (withKnownCosts.has(device)) return;
  const path = defaultCostsPath();
  const costs = loadCosts(deviceStatus(device), path);
  try {
    if (costs !== null) native.setSettings(deviceCode(device), costs);
  } catch (error) {
    throw new FormatError(path, (error as Error).message);
  }
  withKnownCosts.add(device);
}

/** Devices that tensors can live on here, the default first. */
export const availableDevices = (): Device[] =>
  (Object.keys(KINDS) as DeviceKind[]).flatMap((kind): Device[] => {
    if (!native.available(KINDS[kind])) return [];
    const numbered = Array.from({ length: native.deviceCount(KINDS[kind]) }, (_, i) => `${kind}:${i}` as Device);
    const others = numbered.filter((device) => deviceName(device) === device && native.available(deviceCode(device)));
    return [kind, ...others];
  });

/** What a device is, or why it is not usable. @throws {OptionError} */
export function deviceStatus(device: Device): string {
  checkDeviceName('deviceStatus', device);
  return native.status(deviceCode(device));
}

/** Why the CUDA backend is or is not usable: the status of 'cuda'. */
export const cudaStatus = (): string => deviceStatus('cuda');

/**
 * Kernels of native/kernels.def that the host computes for a device: their operands are copied there and back.
 * @throws {OptionError}
 */
export function hostKernels(device: Device): string[] {
  checkDeviceName('hostKernels', device);
  return native.hostKernels(deviceCode(device));
}

/**
 * Which CUDA device 'cuda' is, counted from 0. Choose it before any device has a tensor. Default: the environment's
 * STRUCTURED_FFN_CUDA_DEVICE, or 0. @throws {DeviceError}
 */
export function setCudaDevice(index: number): void {
  checkInteger('setCudaDevice', index, 0);
  runNative(() => native.setDefaultDevice(KINDS.cuda + 256 * (index + 1)));
  withKnownCosts.clear();
}

/**
 * Whether products of float32 matrices on CUDA may round their operands to TF32 (10 bits of mantissa instead of 23;
 * sums stay float32), which tensor cores multiply. Default: no, or STRUCTURED_FFN_TF32=1. Attention stays exact, and so
 * do products of up to 16 rows, whose speed is limited by memory.
 */
export const getCudaTf32 = (): boolean =>
  native.available(KINDS.cuda) && runNative(() => native.settings(KINDS.cuda)).tf32 === 'on';

/** For all later products. @throws {DeviceError} without CUDA. @throws {OptionError} */
export function setCudaTf32(allowed: boolean): void {
  checkDevice('setCudaTf32', 'cuda');
  if (typeof allowed !== 'boolean') throw new OptionError('setCudaTf32', 'true or false', allowed);
  runNative(() => native.setSettings(KINDS.cuda, { tf32: allowed ? 'on' : 'off' }));
}

/**
 * Waits until a device has done all its work. The CPU is always done. @throws {SffnError} for what went wrong there
 * since the last synchronisation: on CUDA errors show only here, or at the next copy to the CPU.
 */
export const synchronize = (device: Device = 'cuda'): void =>
  runNative(() => native.synchronize(usableCode('synchronize', device)));

/** Instruction sets that this build and this processor share, best first. */
export const availableIsas = (): Isa[] => native.isas().split(',') as Isa[];

/** The instruction set in use. Default: the best available, or STRUCTURED_FFN_ISA. */
export const getIsa = (): Isa => runNative(() => native.isa()) as Isa;

/** For tests and comparisons. @throws {OptionError} when it is not available. */
export function setIsa(isa: Isa): void {
  checkChoice('setIsa', isa, availableIsas());
  runNative(() => native.setIsa(isa));
}

/** Bytes in use, cached, at peak; how often the system was asked. @throws {DeviceError} */
export const memoryStats = (device: Device = 'cpu'): MemoryStats =>
  runNative(() => native.memoryStats(usableCode('memoryStats', device)));

/** Resets `peak` to what is in use now. @throws {DeviceError} */
export const resetPeakMemory = (device: Device = 'cpu'): void =>
  runNative(() => native.resetPeakMemory(usableCode('resetPeakMemory', device)));

/**
 * Bytes that tensors and scratch may take together. Default: 90 % of the device's memory, on the CPU 90 % of the
 * machine's or the control group's. Beyond it OutOfMemoryError is thrown, and everything stays usable. @throws
 * {DeviceError}
 */
export function setMemoryLimit(bytes: number, device: Device = 'cpu'): void {
  checkInteger('setMemoryLimit', bytes, 0);
  runNative(() => native.setMemoryLimit(usableCode('setMemoryLimit', device), bytes));
}

/** Gives memory kept for reuse back to the system. @throws {DeviceError} */
export const emptyCache = (device: Device = 'cpu'): void =>
  runNative(() => native.emptyCache(usableCode('emptyCache', device)));

function usableCode(where: string, device: Device): number {
  checkDevice(where, device);
  return deviceCode(device);
}
