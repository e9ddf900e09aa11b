// Runs jest for the scripts that need an environment of their own.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ROOT } from './files.mjs';

export const JEST = join(dirname(createRequire(import.meta.url).resolve('jest/package.json')), 'bin', 'jest.js');

/** Instrumented or emulated code takes many times as long as what jest's five seconds a test were meant for. */
const SLOWED = '--testTimeout=120000';

/** Its exit status, for kernels that are instrumented or emulated; `env` is added to the environment. */
export function runSlowed(args, env) {
  const { status } = spawnSync(process.execPath, [JEST, SLOWED, ...args], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  return status ?? 1;
}
