/** Tools that run another program or read a file, with their own limit, so that the output so far is kept. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Grace between SIGTERM and SIGKILL. */
export const GRACE_SECONDS = 2;

/** `timeout` runs a command in a separate process group and ends all of it. */
export const limited = (seconds: number, command: readonly string[]): [string, string[]] => [
  'timeout',
  ['-k', String(GRACE_SECONDS), String(seconds), ...command],
];

/** The exit statuses of `timeout` when it had to end its command: by SIGTERM, by SIGKILL. */
export const ranOver = (status: number | null): boolean => status === 124 || status === 137;

/** Runs a command and hands over every line that it prints, to stdout or stderr. Returns its exit status. */
export async function eachLine(
  seconds: number,
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  take: (line: string) => void,
): Promise<number | null> {
  const [program, args] = limited(seconds, command);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', take);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
}
