// `npm run cuda:report`: what can be said about the CUDA kernels without a GPU, into docs/cuda/kernels.md (and kernels.json, with
// which --check compares: a spill, local memory or a worse count fails). Registers and memory come from ptxas, counts from
// running small, aligned workloads on the PTX executor, times from a model.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasCommand } from './compile.mjs';
import { ROOT } from './files.mjs';
import { GPUS, modelOf, occupancyOf } from './gpu_model.mjs';

const FOLDER = join(ROOT, 'docs', 'cuda');
const BASELINE = join(FOLDER, 'kernels.json');
const ARCHITECTURES = ['sm_80', 'sm_90a'];
const checking = process.argv.includes('--check');
const NVCC = process.env.NVCC ?? 'nvcc';

if (!hasCommand(NVCC)) {
  console.log(`CUDA: no report, not installed: ${NVCC}`);
  process.exit(0);
}

function run(command, args, env = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 1 << 28,
  });
  if (status === 0) return `${stdout}${stderr}`;
  console.error(`${stdout}${stderr}`);
  console.error(`CUDA: ${command} ${args[0]} failed`);
  process.exit(1);
}

/** `gemm_bf16<128, true, false, true>` for a mangled name. */
function readable(names) {
  const text = hasCommand('c++filt')
    ? spawnSync('c++filt', { input: names.join('\n'), encoding: 'utf8' })
        .stdout.trim()
        .split('\n')
    : names;
  return text.map((name) =>
    name
      .replace(/^void /, '')
      .replace(/\((?!anonymous)[^()]*\)$/, '')
      .replaceAll(/sffn::cuda::|\(anonymous namespace\)::|_GLOBAL__N__\w+::|\((?:int|bool)\)/g, '')
      .replaceAll('__nv_bfloat16', 'bf16')
      .replace(/\(.*$/, ''),
  );
}

/** What ptxas says of each kernel of a source, by mangled name. */
function compile(source, architecture, scratch) {
  const output = run(NVCC, [
    ...['-std=c++20', `-arch=${architecture}`, '-cubin', '-Xptxas', '-v', '-Inative', source],
    ...['-o', join(scratch, 'kernel.cubin')],
  ]);
  const kernels = new Map();
  let current = null;
  for (const line of output.split('\n')) {
    const entry = /Compiling entry function '(\w+)'/.exec(line);
    if (entry) {
      current = {};
      kernels.set(entry[1], current);
    }
    const stack = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (stack && current)
      Object.assign(current, { stack: Number(stack[1]), spills: Number(stack[2]) + Number(stack[3]) });
    const used = /Used (\d+) registers/.exec(line);
    if (used && current)
      Object.assign(current, { registers: Number(used[1]), shared: Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0) });
  }
  return kernels;
}

/** Threads of a block, from the launch bounds in the PTX. */
function threadsOf(source, scratch) {
  const path = join(scratch, 'kernel.ptx');
  run(NVCC, ['-std=c++20', '-arch=compute_80', '-ptx', '-Inative', source, '-o', path]);
  const text = readFileSync(path, 'utf8');
  return new Map([...text.matchAll(/\.entry (\w+)\([^{]*?\.maxntid (\d+)/gs)].map(([, name, n]) => [name, Number(n)]));
}

function staticEvidence() {
  const scratch = mkdtempSync(join(tmpdir(), 'cuda-report-'));
  const { cuda } = JSON.parse(readFileSync(join(ROOT, 'native', 'sources.json'), 'utf8'));
  const rows = [];
  for (const source of cuda) {
    const threads = threadsOf(source, scratch);
    if (threads.size === 0) continue;
    const [first, second] = ARCHITECTURES.map((architecture) => compile(source, architecture, scratch));
    const mangled = [...first.keys()];
    const names = readable(mangled);
    mangled.forEach((key, i) => {
      rows.push({
        name: names[i],
        source: source.replace('native/cuda/', ''),
        threads: threads.get(key) ?? 1024,
        sm_80: first.get(key),
        sm_90a: second.get(key),
      });
    });
  }
  rmSync(scratch, { recursive: true });
  return rows.sort((a, b) => a.source.localeCompare(b.source) || a.name.localeCompare(b.name));
}

/** Each workload on the executor, in a process of its own, so that its counts are its own. */
function executorEvidence() {
  const binary = join(ROOT, 'build-ptxsim', 'Release', 'structured_ffn.node');
  if (!existsSync(binary)) {
    console.error('CUDA: build for the PTX executor first: npm run test:ptxsim');
    process.exit(1);
  }
  const script = ['-r', './scripts/register_ts.cjs', 'test/cuda/workloads.ts'];
  const environment = { STRUCTURED_FFN_BINARY: binary };
  const names = run(process.execPath, [...script, '--list'], environment)
    .trim()
    .split('\n');
  const scratch = mkdtempSync(join(tmpdir(), 'cuda-report-'));
  const rows = names.flatMap((workload) => {
    run(process.execPath, [...script, workload], { ...environment, PTXSIM_REPORT: join(scratch, '%p.json') });
    const [file] = readdirSync(scratch);
    const report = JSON.parse(readFileSync(join(scratch, file), 'utf8'));
    rmSync(join(scratch, file));
    if (report.findings.length > 0) throw new Error(`${workload}: ${report.findings[0].message}`);
    const kernels = report.kernels.filter(({ launches }) => launches > 0);
    const labels = readable(kernels.map(({ name }) => name));
    return kernels.map((kernel, i) => ({ ...kernel, workload, name: labels[i] }));
  });
  rmSync(scratch, { recursive: true });
  return rows;
}

const ratio = (actual, ideal) => (ideal > 0 ? actual / ideal : actual === 0 ? 1 : Number.POSITIVE_INFINITY);
const counts = (row) => ({
  loads: ratio(row.globalLoadSectors, row.idealLoadSectors),
  stores: ratio(row.globalStoreSectors, row.idealStoreSectors),
  wavefronts: ratio(row.sharedWavefronts, row.idealSharedWavefronts),
});

const table = (header, rows) =>
  [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

function render(kernels, runs) {
  const occupancy = (row, gpu) => {
    const dynamic = runs.find(({ name }) => name === row.name)?.dynamicSharedBytes ?? 0;
    const evidence = gpu.architecture === 'sm_90a' ? row.sm_90a : row.sm_80;
    const { blocks, percent } = occupancyOf(gpu, row.threads, evidence.registers, evidence.shared + dynamic);
    return `${blocks} (${percent} %)`;
  };
  return `# The CUDA kernels, without a GPU

Written by \`npm run cuda:report\`; nothing on this page was measured on a GPU. Registers and memory are ptxas' (CUDA
${/release ([\d.]+)/.exec(run(NVCC, ['--version']))[1]}), counts come from executing the PTX on this project's own executor (tools/ptxsim), times from a model.

## Registers, memory, occupancy

Spill and stack are bytes (sm_80 / sm_90a); occupancy is blocks on a multiprocessor and the part of its warps that they are.

${table(
  ['kernel', 'source', 'threads', 'registers', 'spill', 'stack', ...GPUS.map(({ name }) => name)],
  kernels.map((row) => [
    `\`${row.name}\``,
    row.source,
    row.threads,
    `${row.sm_80.registers} / ${row.sm_90a.registers}`,
    `${row.sm_80.spills} / ${row.sm_90a.spills}`,
    `${row.sm_80.stack} / ${row.sm_90a.stack}`,
    ...GPUS.map((gpu) => occupancy(row, gpu)),
  ]),
)}

## Memory accesses on the executor

Aligned workloads (\`test/cuda/workloads.ts\`). Sectors of 32 bytes moved for loads and stores, and wavefronts of shared memory, each
over the least that the same bytes need: 1.00 is ideal.

${table(
  ['workload', 'kernel', 'launches', 'loads', 'stores', 'shared', 'tensor-core MFLOP'],
  runs.map((row) => {
    const { loads, stores, wavefronts } = counts(row);
    return [
      row.workload,
      `\`${row.name}\``,
      row.launches,
      loads.toFixed(2),
      stores.toFixed(2),
      wavefronts.toFixed(2),
      (row.mmaFlops / 1e6).toFixed(1),
    ];
  }),
)}

${modelOf(GPUS)}`;
}

/** What must not grow, by kernel and by workload. */
const summaryOf = (kernels, runs) => ({
  kernels: Object.fromEntries(
    kernels.map(({ name, sm_80, sm_90a }) => [
      name,
      { spills: sm_80.spills + sm_90a.spills, stack: sm_80.stack + sm_90a.stack },
    ]),
  ),
  workloads: Object.fromEntries(runs.map((row) => [`${row.workload}: ${row.name}`, counts(row)])),
});

const kernels = staticEvidence();
const runs = executorEvidence();
const summary = summaryOf(kernels, runs);
const spilling = kernels.filter(
  ({ name }) => /gemm|attention/.test(name) && summary.kernels[name].spills + summary.kernels[name].stack > 0,
);
const worse = [];
for (const { name } of spilling) worse.push(`${name} uses local memory`);
if (checking) {
  const before = JSON.parse(readFileSync(BASELINE, 'utf8'));
  for (const [group, keys] of Object.entries(summary))
    for (const [name, values] of Object.entries(keys))
      for (const [what, value] of Object.entries(values)) {
        const allowed = before[group][name]?.[what];
        if (allowed !== undefined && value > allowed * 1.01) worse.push(`${name}: ${what} ${value}, was ${allowed}`);
      }
} else {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(BASELINE, `${JSON.stringify(summary, null, 2)}\n`);
  writeFileSync(join(FOLDER, 'kernels.md'), `${render(kernels, runs).trimEnd()}\n`);
}
for (const line of worse) console.error(`CUDA: ${line}`);
console.log(`CUDA: ${kernels.length} kernels, ${runs.length} counted runs, ${worse.length} problems`);
process.exit(worse.length > 0 ? 1 : 0);
