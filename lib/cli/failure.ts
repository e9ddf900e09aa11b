/** How the command line ends badly. 0: all right, 1: something went wrong, 2: used wrongly; output.ts has those of signals. */
import pc from 'picocolors';

export const USED_WRONGLY = 2;

/** What the user asked for cannot be, as a whole: options that exclude each other, or that are missing. */
export class UsageError extends Error {}

/** The library's own refusals of a value come from the options too; its classes are not loaded here, its code tells. */
const isUsage = (error: unknown): boolean =>
  error instanceof UsageError || (error instanceof Error && 'code' in error && error.code === 'ERR_OPTION');

export function fail(error: unknown, debug: boolean): void {
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
  process.stderr.write(`${pc.red('error:')} ${debug && stack ? stack : message}\n`);
  process.exitCode = isUsage(error) ? USED_WRONGLY : 1;
}
