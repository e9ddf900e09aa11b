/** Devices, threads, instruction sets and memory: what the computation runs on. */
import type { NativeMemoryStats } from '../types/native';
import { defaultCostsPath, loadCosts } from './cuda/costs_file';
import { checkChoice, checkInteger, checkNumber, DeviceError, FormatError, OptionError, runNative } from './errors';
import { native } from './native';

export type Device = 'cpu' | 'cuda';
export type Isa = 'avx512' | 'avx2' | 'baseline' | 'neon';
export type MemoryStats = Readonly<NativeMemoryStats>;

/** @throws {DeviceError} that says what is missing, when the device is not usable here. */
export function checkDevice(where: string, device: unknown): asserts device is Device {
  checkChoice(where, device, ['cpu', 'cuda']);
  if (device === 'cpu') return;
  if (!native.cudaAvailable()) throw new DeviceError(`${where}: device 'cuda' is ${native.cudaStatus()}`);
  useMeasuredCosts();
}

let costsAreKnown = false;

/** What was measured on this GPU for the choice of its kernels, if anything, from its first use on. */
function useMeasuredCosts(): void {
  if (costsAreKnown) return;
  const path = defaultCostsPath();
  const costs = loadCosts(cudaStatus(), path);
  try {
    if (costs !== null) native.setGemmCosts(costs);
  } catch (error) {
    throw new FormatError(path, (error as Error).message);
  }
  costsAreKnown = true;
}

/** What the addon calls the devices. */
export const DEVICE_CODES: Readonly<Record<Device, number>> = { cpu: 0, cuda: 1 };

/** Devices that tensors can live on here, the default first. */
export const availableDevices = (): Device[] => (native.cudaAvailable() ? ['cpu', 'cuda'] : ['cpu']);

/** Why the CUDA backend is or is not usable. */
export const cudaStatus = (): string => native.cudaStatus();

/**
 * The CUDA device to use, counted from 0; to be chosen before the first tensor is put there. Default: the environment's
 * STRUCTURED_FFN_CUDA_DEVICE, or 0. @throws {DeviceError}
 */
export function setCudaDevice(index: number): void {
  checkInteger('setCudaDevice', index, 0);
  runNative(() => native.setCudaDevice(index));
}

/**
 * Whether products of float32 matrices on CUDA may round their operands to TF32 (10 bits of mantissa instead of 23, sums
 * stay float32), which tensor cores multiply. Default: no, or STRUCTURED_FFN_TF32=1. Products of up to 16 rows, which reading
 * memory bounds, and attention stay exact.
 */
export const getCudaTf32 = (): boolean => native.cudaTf32();

/** For all products from now on. @throws {DeviceError} where there is no CUDA. @throws {OptionError} */
export function setCudaTf32(allowed: boolean): void {
  checkDevice('setCudaTf32', 'cuda');
  if (typeof allowed !== 'boolean') throw new OptionError('setCudaTf32', 'true or false', allowed);
  native.setCudaTf32(Number(allowed));
}

/**
 * Waits until a device has done what it was asked to do. The CPU is always done. @throws {SffnError} what went wrong there
 * since the last synchronisation: on CUDA that shows only now, or at the next copy to the CPU.
 */
export function synchronize(device: Device = 'cuda'): void {
  checkDevice('synchronize', device);
  if (device === 'cuda') runNative(() => native.cudaSynchronize());
}

/** Threads that a kernel runs on, the caller's included. Default: physical cores, or STRUCTURED_FFN_NUM_THREADS. */
export const getNumThreads = (): number => native.numThreads();

/** @throws {OptionError} unless 1 <= count <= 1024. */
export function setNumThreads(count: number): void {
  checkInteger('setNumThreads', count);
  checkNumber('setNumThreads', count, 1, 1024);
  native.setNumThreads(count);
}

/** Instruction sets that this build and this processor share, best first. */
export const availableIsas = (): Isa[] => native.isas().split(',') as Isa[];

/** The instruction set in use. Default: the best available, or STRUCTURED_FFN_ISA. */
export const getIsa = (): Isa => native.isa() as Isa;

/** For tests and comparisons. @throws {OptionError} when it is not available. */
export function setIsa(isa: Isa): void {
  checkChoice('setIsa', isa, availableIsas());
  native.setIsa(isa);
}

/** Bytes in use, cached, at peak; how often the system was asked. @throws {DeviceError} */
export const memoryStats = (device: Device = 'cpu'): MemoryStats => native.memoryStats(codeOf('memoryStats', device));

/** Makes `peak` start again from what is in use now. @throws {DeviceError} */
export const resetPeakMemory = (device: Device = 'cpu'): void =>
  native.resetPeakMemory(codeOf('resetPeakMemory', device));

/**
 * Bytes that tensors and scratch may take together (default: 90 % of the device's memory, on the CPU of the machine's or
 * the control group's). Going over it throws OutOfMemoryError, and everything stays usable. @throws {DeviceError}
 */
export function setMemoryLimit(bytes: number, device: Device = 'cpu'): void {
  checkInteger('setMemoryLimit', bytes, 0);
  native.setMemoryLimit(codeOf('setMemoryLimit', device), bytes);
}

/** Gives memory kept for reuse back to the system. @throws {DeviceError} */
export const emptyCache = (device: Device = 'cpu'): void => native.emptyCache(codeOf('emptyCache', device));

function codeOf(where: string, device: Device): number {
  checkDevice(where, device);
  return DEVICE_CODES[device];
}
