// Builds and runs the unit tests of the PTX executor: every opcode against its definition, a planted bug for every check.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { hasCommand } from './compile.mjs';
import { ROOT } from './files.mjs';
import { skip } from './skip.mjs';

if (!hasCommand('cmake')) skip('not installed: cmake');

const FOLDER = join(ROOT, 'build-ptxsim-test');
const run = (command, args) => spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' }).status ?? 1;

const built =
  run('cmake', ['-S', join('tools', 'ptxsim'), '-B', FOLDER, '-DCMAKE_BUILD_TYPE=Release']) === 0 &&
  run('cmake', ['--build', FOLDER, '--target', 'ptxsim_test', '--parallel', '2']) === 0;
process.exit(built ? run(join(FOLDER, 'ptxsim_test'), []) : 1);
