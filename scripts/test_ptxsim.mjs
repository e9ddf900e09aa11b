// Runs the table of ops, the tests of devices and a small training run on device 'cuda' without a GPU. The addon is
// built with the PTX executor (tools/ptxsim) instead of the CUDA runtime, and must compute the right values without any
// finding. It runs under three orders of execution: in two of them every tensor has its own memory, and one of these has a
// small device of compute capability 8.0 instead of 9.0. PTXSIM_SCHEDULES names fewer or other orders. Arguments are
// jest's; without any it runs everything that uses devices.
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { hasCommand } from './compile.mjs';
import { runSlowed } from './jest.mjs';
import { buildForExecutor, PTXSIM_BINARY, PTXSIM_FOLDER } from './ptx_binary.mjs';
import { skip } from './skip.mjs';

const missing = [process.env.NVCC ?? 'nvcc', 'cmake'].filter((command) => !hasCommand(command));
if (missing.length > 0) skip(`not installed: ${missing.join(', ')}`);

const REPORTS = join(PTXSIM_FOLDER, 'reports');
const SCHEDULES = (process.env.PTXSIM_SCHEDULES ?? 'forward,reverse,random:1').split(',');
const given = process.argv.slice(2);
const tests = given.length > 0 ? given : ['test/cuda', 'test/ops'];

/**
 * Small products get the kernels of large ones on it; it has the shared memory and the instructions that every GPU has.
 */
const SMALL_DEVICE = {
  PTXSIM_MULTIPROCESSORS: '8',
  PTXSIM_SHARED_BYTES: '101376',
  PTXSIM_COMPUTE_CAPABILITY: '80',
};

buildForExecutor();

/** Of the reports that the processes of jest wrote; a run without reports did not use the executor. */
function findings() {
  const reports = readdirSync(REPORTS);
  if (reports.length === 0) return [{ kernel: 'none', kind: 'no report', message: 'nothing ran on the executor' }];
  return reports.flatMap((file) => JSON.parse(readFileSync(join(REPORTS, file), 'utf8')).findings);
}

const runs = SCHEDULES.map((schedule) => ({
  name: `schedule ${schedule}`,
  tests,
  env: {
    PTXSIM_SCHEDULE: schedule,
    // Blocks kept for reuse are longer than the tensors in them: an access beyond a tensor would not be seen.
    STRUCTURED_FFN_NO_CUDA_MEMORY_CACHING: schedule === 'forward' ? '0' : '1',
    ...(schedule.startsWith('random') ? SMALL_DEVICE : {}),
  },
}));
// The other tests demand the precision of float32.
const isOfOps = (argument) => argument.startsWith('-') || argument.startsWith('test/ops');
if (tests.some((argument) => argument.startsWith('test/ops')))
  runs.push({ name: 'TF32', tests: tests.filter(isOfOps), env: { STRUCTURED_FFN_TF32: '1' } });

let failed = false;
for (const { name, tests, env } of runs) {
  rmSync(REPORTS, { recursive: true, force: true });
  mkdirSync(REPORTS, { recursive: true });
  const status = runSlowed(tests, {
    STRUCTURED_FFN_BINARY: PTXSIM_BINARY,
    STRUCTURED_FFN_TEST_DEVICE: 'cuda',
    PTXSIM_REPORT: join(REPORTS, '%p.json'),
    ...env,
  });
  const found = findings();
  for (const { kernel, kind, message } of found) console.error(`${kernel}: ${kind}: ${message}`);
  console.log(`CUDA on the PTX executor, ${name}: ${status === 0 ? 'passed' : 'FAILED'}, ${found.length} findings`);
  failed ||= status !== 0 || found.length > 0;
}
process.exit(failed ? 1 : 0);
