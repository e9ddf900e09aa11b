/**
 * How the command line fails. 0: all right, 1: something went wrong, 2: used wrongly. output.ts has the codes of
 * signals.
 */
import pc from 'picocolors';
import { withOptionName } from './option_names';

export const USED_WRONGLY = 2;

/** The request as a whole is impossible: options that exclude each other, or that are missing. */
export class UsageError extends Error {}

/** The library also refuses values that come from options. Its classes are not loaded here; the error's code tells. */
const isUsage = (error: unknown): boolean =>
  error instanceof UsageError || (error instanceof Error && 'code' in error && error.code === 'ERR_OPTION');

/** Whether a path from the working folder was asked for when there is none any more. */
const isLost = (error: unknown): boolean => error instanceof Error && 'syscall' in error && error.syscall === 'uv_cwd';

export function fail(error: unknown, debug: boolean): void {
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
  const usage = isUsage(error);
  const text = isLost(error) ? 'the working folder is gone' : usage ? withOptionName(message, process.argv) : message;
  process.stderr.write(`${pc.red('error:')} ${debug && stack ? stack : text}\n`);
  process.exitCode = usage ? USED_WRONGLY : 1;
}
