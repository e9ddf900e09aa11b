/** Ours against others in the same precision: each rival by its fastest way, such as eager or compiled. */
import type { Result } from './results';
import { isOurs, isOursOnCpu, makerOf, type Precision, precisionOf, wayOf } from './side';

/** A rival, or ours on another device. */
const opponentOf = (result: Result): string =>
  isOurs(result) ? `${makerOf(result)} ${wayOf(result)}` : makerOf(result);

/** Few have int8: it is compared with whatever is fastest. */
const isComparable = (other: Result, precision: Precision): boolean =>
  precisionOf(other) === precision || (precision === 'int8' && !isOurs(other));

export const opponentsOf = (results: readonly Result[], precision: Precision): string[] => [
  ...new Set(results.filter((one) => !isOursOnCpu(one) && isComparable(one, precision)).map(opponentOf)),
];

/** The fastest way of an opponent to compute `variant` in a precision. */
export function fastest(
  group: readonly Result[],
  opponent: string,
  precision: Precision,
  variant: string,
): Result | undefined {
  const ways = group.filter(
    (one) =>
      !isOursOnCpu(one) && opponentOf(one) === opponent && one.variant === variant && isComparable(one, precision),
  );
  return ways.sort((a, b) => a.median - b.median)[0];
}

/** How many times faster ours is than another; undefined where either is missing. */
export const timesFaster = (ours: Result | undefined, other: Result | undefined): number | undefined =>
  ours && other && other.median / ours.median;
