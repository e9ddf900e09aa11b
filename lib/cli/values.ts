/** Values of options. A value that is not a number of the right kind is a usage error. */
import { InvalidArgumentError } from 'commander';
import { checkDeviceName, type Device } from '../device_name';

/** A path; what is there shows when it is used. */
export function path(text: string): string {
  if (text === '') throw new InvalidArgumentError('It is empty.');
  if (text.startsWith('--')) throw new InvalidArgumentError(`It is an option; ./${text} would be a file or folder.`);
  return text;
}

/** The path of an option that takes one only. */
export function onePath(text: string, before: string | undefined): string {
  if (before !== undefined) throw new InvalidArgumentError('It is given twice; one file or folder can be given.');
  return path(text);
}

export function decimal(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It is not a number.');
  return value;
}

export function wholeNumber(text: string): number {
  const value = decimal(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError('It must be a whole number, 0 or more.');
  return value;
}

export function positiveInteger(text: string): number {
  const value = wholeNumber(text);
  if (value < 1) throw new InvalidArgumentError('It must be at least 1.');
  return value;
}

/** `4`, or a pair such as `4,8`. */
export function blockCounts(text: string): number | [number, number] {
  const [first, second, ...others] = text.split(',').map(positiveInteger);
  if (others.length > 0) throw new InvalidArgumentError('It must be one or two numbers.');
  return second === undefined ? first! : [first!, second];
}

/** Whether the device exists shows when it is used. */
export function deviceName(text: string): Device {
  try {
    checkDeviceName('--device', text);
  } catch {
    throw new InvalidArgumentError('Allowed choices are cpu, cuda, cuda:N.');
  }
  return text;
}
