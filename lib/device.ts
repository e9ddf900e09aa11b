/** Devices, threads, instruction sets and memory: what the computation runs on. */
import type { NativeMemoryStats } from '../types/native';
import { checkChoice, checkInteger, checkNumber, DeviceError } from './errors';
import { native } from './native';

export type Device = 'cpu' | 'cuda';
export type Isa = 'avx512' | 'avx2' | 'baseline' | 'neon';
export type MemoryStats = Readonly<NativeMemoryStats>;

/** @throws {DeviceError} that says what is missing, when the device is not usable here. */
export function checkDevice(where: string, device: unknown): asserts device is Device {
  checkChoice(where, device, ['cpu', 'cuda']);
  if (device === 'cuda') throw new DeviceError(`${where}: device 'cuda' is ${native.cudaStatus()}`);
}

/** Devices that tensors can live on here, the default first. */
export const availableDevices = (): Device[] => ['cpu'];

/** Why the CUDA backend is or is not usable. */
export const cudaStatus = (): string => native.cudaStatus();

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

/** Bytes in use, cached, at peak; how often the system was asked. */
export const memoryStats = (): MemoryStats => native.memoryStats();

/** Makes `peak` start again from what is in use now. */
export const resetPeakMemory = (): void => native.resetPeakMemory();

/**
 * Bytes that tensors and scratch may take together (default: 90 % of the machine's or the control group's memory). Going
 * over it throws OutOfMemoryError, and everything stays usable.
 */
export function setMemoryLimit(bytes: number): void {
  checkInteger('setMemoryLimit', bytes, 0);
  native.setMemoryLimit(bytes);
}

/** Gives memory kept for reuse back to the system. */
export const emptyCache = (): void => native.emptyCache();
