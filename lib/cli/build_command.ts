import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Compiles the binary in the package's own folder; the script tells what it does and what is missing. */
export function buildCommand(): void {
  const root = join(__dirname, '..', '..');
  const script = join(root, 'scripts', 'build.mjs');
  const { status } = spawnSync(process.execPath, [script, '--native', '--force'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) throw new Error('the binary was not built');
}
