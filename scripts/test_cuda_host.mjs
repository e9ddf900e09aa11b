// Builds and runs the unit tests of single-threaded code of the CUDA backend that also compiles for the host: index
// maps, activations and sines, and the allocator of its memory. nvcc passes them to the host's compiler, which could
// not read the kernels in the same files.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { hasCommand } from './compile.mjs';
import { ROOT } from './files.mjs';
import { NVCC } from './ptxas_report.mjs';
import { skip } from './skip.mjs';

if (!hasCommand(NVCC)) skip(`not installed: ${NVCC}`);

const FOLDER = join(ROOT, 'build-cuda-host');
const BINARY = join(FOLDER, 'cuda_host_test');
const UNIT = join('tools', 'unit');
const run = (command, args) => spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' }).status ?? 1;

mkdirSync(FOLDER, { recursive: true });
const built = run(NVCC, [
  ...['-std=c++20', '-arch=compute_80', '-Werror=all-warnings'],
  // `#pragma unroll` is for the device's compiler.
  '-Xcompiler=-Wall,-Wextra,-Werror,-Wno-unknown-pragmas',
  ...['-Inative', `-I${UNIT}`, join('test', 'cuda', 'host', 'tests.cu'), join('native', 'segment_allocator.cc')],
  ...[join(UNIT, 'main.cc'), '-o', BINARY],
]);
process.exit(built === 0 ? run(BINARY, []) : 1);
