// `npm run cuda:report`: everything known about the CUDA kernels without a GPU, in docs/cuda/kernels.md and
// kernels.json. Registers and memory come from ptxas, counts from small workloads on the PTX executor, times from a
// model. With --check nothing is written: every source is compiled and all workloads run again. It fails for a spill,
// local memory, fewer blocks on a multiprocessor or more traffic than in kernels.json.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasCommand } from './compile.mjs';
import { countsOf, executorEvidence } from './executor_report.mjs';
import { ROOT } from './files.mjs';
import { GPUS, modelOf, occupancyOf } from './gpu_model.mjs';
import { buildForExecutor } from './ptx_binary.mjs';
import { ARCHITECTURES, NVCC, ptxasEvidence } from './ptxas_report.mjs';
import { skip } from './skip.mjs';

const FOLDER = join(ROOT, 'docs', 'cuda');
const BASELINE = join(FOLDER, 'kernels.json');
const checking = process.argv.includes('--check');

const missing = [NVCC, 'cmake'].filter((command) => !hasCommand(command));
if (missing.length > 0) skip(`not installed: ${missing.join(', ')}`);
buildForExecutor();

const toolkit = () => /release ([\d.]+)/.exec(execFileSync(NVCC, ['--version'], { encoding: 'utf8' }))[1];

/** `value` of a kernel on either architecture; a dash if the kernel does not exist there. */
const onBoth = (row, value) => ARCHITECTURES.map((name) => (row[name] ? value(row[name]) : '–')).join(' / ');
/** The same, as a sum. */
const sumOf = (row, value) => ARCHITECTURES.reduce((sum, name) => sum + (row[name] ? value(row[name]) : 0), 0);

/** Of a kernel on a GPU, with the most dynamic shared memory that a workload gave it; null where it does not exist there. */
function occupancyOn(gpu, row, runs) {
  if (!row[gpu.architecture]) return null;
  const dynamic = Math.max(0, ...runs.filter(({ name }) => name === row.name).map((run) => run.dynamicSharedBytes));
  const { registers, shared } = row[gpu.architecture];
  return occupancyOf(gpu, row.threads, registers, shared + dynamic);
}

const table = (header, rows) =>
  [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

function render(kernels, runs) {
  const launched = new Set(runs.map(({ name }) => name));
  const occupancy = (row, gpu) => {
    const found = occupancyOn(gpu, row, runs);
    return found ? `${launched.has(row.name) ? '' : '≤ '}${found.blocks} (${found.percent} %)` : '–';
  };
  return `# The CUDA kernels, without a GPU

Written by \`npm run cuda:report\`; nothing on this page was measured on a GPU. Registers and memory are ptxas' (CUDA
${toolkit()}), counts come from executing the PTX on this project's own executor (tools/ptxsim), times from a model.

## Registers, memory, occupancy

Spill and stack are bytes (sm_80 / sm_90a); occupancy is blocks on a multiprocessor and the part of its warps that they are,
with the dynamic shared memory of the workloads below (≤ where none of them launches the kernel: without it). 0 means that
the executor, which has an H100's shared memory, was given more than that GPU has: there a smaller tile or another kernel is chosen.
Kernels with a dash exist for compute capability 9.0 alone.

${table(
  ['kernel', 'source', 'threads', 'registers', 'spill', 'stack', ...GPUS.map(({ name }) => name)],
  kernels.map((row) => [
    `\`${row.name}\``,
    row.source,
    row.threads,
    onBoth(row, ({ registers }) => registers),
    onBoth(row, ({ spills }) => spills),
    onBoth(row, ({ stack }) => stack),
    ...GPUS.map((gpu) => occupancy(row, gpu)),
  ]),
)}

## Memory accesses on the executor

Aligned workloads (\`test/cuda/workloads.ts\`) on a device of compute capability 9.0, and on one of 8.0 where other kernels take the place of
those by wgmma. MB is memory that is touched at all, what a launch touches often counted once. Sectors of 32 bytes moved for loads and
stores, and wavefronts of shared memory, are over the least that the same bytes need: 1.00 is ideal. What wgmma itself reads from shared
memory is not counted.

${table(
  ['workload', 'kernel', 'launches', 'MB', 'loads', 'stores', 'shared', 'tensor-core MFLOP'],
  runs.map((row) => {
    const { bytes, loads, stores, wavefronts } = countsOf(row);
    return [
      row.workload,
      `\`${row.name}\``,
      row.launches,
      (bytes / 1e6).toFixed(2),
      loads.toFixed(2),
      stores.toFixed(2),
      wavefronts.toFixed(2),
      (row.mmaFlops / 1e6).toFixed(1),
    ];
  }),
)}

${machineCode(kernels)}
${modelOf(GPUS)}`;
}

/** Of the kernels with tensor-core instructions; nothing without a disassembler. */
function machineCode(kernels) {
  const names = ['HMMA', 'HGMMA', 'LDSM', 'LDGSTS'];
  const rows = kernels.filter(({ sm_90a }) => sm_90a.instructions?.HMMA + sm_90a.instructions?.HGMMA > 0);
  if (rows.length === 0) return '';
  return `
## Tensor-core instructions

In the machine code (sm_80 / sm_90a): multiply-adds of the tensor cores by mma.sync (HMMA) and wgmma (HGMMA), loads of their operands from
shared memory (a LDSM brings up to four matrices of 8 x 8), and asynchronous copies into it. TF32 operands come by plain loads.

${table(
  ['kernel', ...names],
  rows.map((row) => [`\`${row.name}\``, ...names.map((name) => onBoth(row, ({ instructions }) => instructions[name]))]),
)}
`;
}

/** The values that must not grow, by kernel and by workload. */
const summaryOf = (kernels, runs) => ({
  kernels: Object.fromEntries(
    kernels.map((row) => [
      row.name,
      {
        spills: sumOf(row, ({ spills }) => spills),
        stack: sumOf(row, ({ stack }) => stack),
        ...Object.fromEntries(
          GPUS.filter((gpu) => row[gpu.architecture]).map((gpu) => [
            `idle % of ${gpu.name}`,
            100 - occupancyOn(gpu, row, runs).percent,
          ]),
        ),
      },
    ]),
  ),
  workloads: Object.fromEntries(runs.map((row) => [`${row.workload}: ${row.name}`, countsOf(row)])),
});

/** A kernel or a workload a line. */
function formatSummary(summary) {
  const groups = Object.entries(summary).map(([group, rows]) => {
    const lines = Object.entries(rows).map(([name, values]) => `${JSON.stringify(name)}: ${JSON.stringify(values)}`);
    return `${JSON.stringify(group)}: {\n${lines.join(',\n')}\n}`;
  });
  return `{${groups.join(',\n')}}\n`;
}

/** Counts may grow by this part: the remainder of a division. */
const TOLERANCE = 1.01;

/** What is worse in `now` than in `before`, one item a line. */
function regressions(before, now) {
  const lines = [];
  for (const [group, rows] of Object.entries(now))
    for (const [name, values] of Object.entries(rows)) {
      const allowed = before[group][name];
      if (!allowed) lines.push(`${name} is not in docs/cuda/kernels.json: run npm run cuda:report`);
      else
        for (const [what, value] of Object.entries(values))
          if (!(value <= allowed[what] * TOLERANCE)) lines.push(`${name}: ${what} ${value}, was ${allowed[what]}`);
    }
  return lines;
}

const runs = executorEvidence();
const kernels = await ptxasEvidence();
const summary = summaryOf(kernels, runs);
const problems = kernels
  .filter(({ name }) => summary.kernels[name].spills + summary.kernels[name].stack > 0)
  .map(({ name }) => `${name} uses local memory`);
if (checking) problems.push(...regressions(JSON.parse(readFileSync(BASELINE, 'utf8')), summary));
else {
  writeFileSync(BASELINE, formatSummary(summary));
  writeFileSync(join(FOLDER, 'kernels.md'), `${render(kernels, runs).trimEnd()}\n`);
}
for (const line of problems) console.error(`CUDA: ${line}`);
console.log(`CUDA: ${kernels.length} kernels, ${runs.length} counted runs, ${problems.length} problems`);
process.exitCode = problems.length > 0 ? 1 : 0;
