// The executor's counts for the workloads of test/cuda/workloads.ts.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { PTXSIM_BINARY } from './ptx_binary.mjs';
import { readable } from './ptxas_report.mjs';

function runWorkload(argument, env = {}) {
  const args = ['-r', './scripts/register_ts.cjs', 'test/cuda/workloads.ts', argument];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, STRUCTURED_FFN_BINARY: PTXSIM_BINARY, ...env },
  });
  if (status !== 0) throw new Error(`${argument}: ${stdout}${stderr}`);
  return stdout;
}

/** The kernels that a workload launches on a device of this compute capability. */
function kernelsOfWorkload(workload, capability) {
  const scratch = mkdtempSync(join(tmpdir(), 'cuda-report-'));
  runWorkload(workload, { PTXSIM_REPORT: join(scratch, '%p.json'), PTXSIM_COMPUTE_CAPABILITY: capability });
  const [file] = readdirSync(scratch);
  const report = JSON.parse(readFileSync(join(scratch, file), 'utf8'));
  rmSync(scratch, { recursive: true });
  if (report.findings.length > 0) throw new Error(`${workload}: ${report.findings[0].message}`);
  const kernels = report.kernels.filter(({ launches }) => launches > 0);
  const names = readable(kernels.map(({ name }) => name));
  return kernels.map((kernel, i) => ({ ...kernel, name: names[i] }));
}

/**
 * The launched kernels of each workload on a device of compute capability 9.0. If one of them needs instructions of 9.0
 * alone, the kernels that replace it on 8.0 are added. Each workload runs in a separate process, so that the counts are
 * its own.
 */
export function executorEvidence() {
  return runWorkload('--list')
    .trim()
    .split('\n')
    .flatMap((workload) => {
      const rows = kernelsOfWorkload(workload, '90').map((kernel) => ({ ...kernel, workload }));
      if (!rows.some(({ name }) => name.includes('wgmma'))) return rows;
      const known = new Set(rows.map(({ name }) => name));
      const others = kernelsOfWorkload(workload, '80').filter(({ name }) => !known.has(name));
      return [...rows, ...others.map((kernel) => ({ ...kernel, workload: `${workload}, compute capability 8.0` }))];
    });
}

const ratio = (actual, ideal) => (ideal > 0 ? actual / ideal : actual === 0 ? 1 : Number.POSITIVE_INFINITY);

/** The bytes of the distinct sectors in a row, and its memory traffic relative to the least for the same bytes. */
export const countsOf = (row) => ({
  bytes: row.dramBytes,
  loads: ratio(row.globalLoadSectors, row.idealLoadSectors),
  stores: ratio(row.globalStoreSectors, row.idealStoreSectors),
  wavefronts: ratio(row.sharedWavefronts, row.idealSharedWavefronts),
});
