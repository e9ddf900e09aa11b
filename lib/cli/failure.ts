/** How the command line ends badly. 0: all right, 1: something went wrong, 2: used wrongly, 130: interrupted. */
import pc from 'picocolors';

/** What the user asked for cannot be, as a whole: options that exclude each other, or that are missing. */
export class UsageError extends Error {}

export function fail(error: unknown, debug: boolean): void {
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
  process.stderr.write(`${pc.red('error:')} ${debug && stack ? stack : message}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
