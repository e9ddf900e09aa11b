import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Runs node-gyp in the package's own folder. */
export function buildCommand(): void {
  const root = join(__dirname, '..', '..');
  const gyp = require.resolve('node-gyp/bin/node-gyp.js');
  const { status } = spawnSync(process.execPath, [gyp, 'rebuild'], { cwd: root, stdio: 'inherit' });
  if (status !== 0)
    throw new Error('the build failed; it needs a C++20 compiler (g++ 11 or clang 14), Python 3 and make');
  process.stdout.write(`built ${join(root, 'build', 'Release', 'structured_ffn.node')}\n`);
}
