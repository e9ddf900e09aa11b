/** Names of sides: who made it, then how and where, then the precision unless it is float32. */

import type { WeightDType } from '../../lib/decode';
import { type Device, getIsa, type Isa } from '../../lib/device';
import type { DType } from '../../lib/dtype';

/** What products are computed in: for float32 and bfloat16 both operands, for int8 the weights of a decoder. */
export type Precision = WeightDType;
export const PRECISIONS: readonly Precision[] = ['float32', 'bfloat16', 'int8'];

/** Where ours computes, and with which type. */
export interface Placement {
  readonly device: Device;
  readonly dtype: Extract<DType, Precision>;
}

export const ON_CPU: Placement = { device: 'cpu', dtype: 'float32' };
export const BFLOAT16_ON_CPU: Placement = { device: 'cpu', dtype: 'bfloat16' };

export const OURS = 'structured-ffn';

/** Such as 'pytorch compiled bfloat16'. */
export const sideName = (maker: string, precision: Precision, ...ways: readonly string[]): string =>
  [maker, ...ways, ...(precision === 'float32' ? [] : [precision])].join(' ');

/** 'structured-ffn bfloat16'; on other devices than the CPU always with the type, 'structured-ffn cuda float32'. */
export const sideOf = ({ device, dtype }: { readonly device: Device; readonly dtype: Precision }): string =>
  device === 'cpu' ? sideName(OURS, dtype) : `${OURS} ${device} ${dtype}`;

interface Sided {
  readonly side: string;
}

export const makerOf = ({ side }: Sided): string => side.split(' ', 1)[0]!;
export const precisionOf = ({ side }: Sided): Precision =>
  PRECISIONS.find((one) => side.endsWith(` ${one}`)) ?? 'float32';
/** What is between the two: 'compiled autocast', or nothing. */
export const wayOf = ({ side }: Sided): string =>
  side
    .split(' ')
    .slice(1)
    .filter((word) => !PRECISIONS.some((one) => one === word))
    .join(' ');

export const isOurs = (one: Sided): boolean => makerOf(one) === OURS;
export const isOursOnCpu = (one: Sided): boolean => isOurs(one) && wayOf(one) === '';

/** Relative difference from our results in float32 on the CPU that still counts as rounding. */
export const mostError = (one: Sided): number => (precisionOf(one) === 'float32' ? 1e-3 : 5e-2);

/** Whether the processor has an instruction for pairs of bfloat16. */
export const multipliesPairs = (isa: Isa): boolean => isa === 'avx512bf16';

/** What layers and models are measured in if nobody asks: without that instruction, bfloat16 is slow for all sides. */
export const usualPrecisions = (): readonly Precision[] =>
  multipliesPairs(getIsa()) ? ['float32', 'bfloat16'] : ['float32'];
