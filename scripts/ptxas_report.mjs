// ptxas's report on the CUDA kernels: registers, spills, local and shared memory, on each of ARCHITECTURES; and the
// instructions in their machine code, if there is a disassembler.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasCommand } from './compile.mjs';
import { ROOT } from './files.mjs';
import { inParallel } from './parallel.mjs';
import { kernelsOf, requireBinary } from './ptx_binary.mjs';

export const NVCC = process.env.NVCC ?? 'nvcc';
export const ARCHITECTURES = ['sm_80', 'sm_90a'];

/** `gemm_bf16<128, true, false, true>` for each mangled name. */
export function readable(names) {
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

/** By mangled name, from what `ptxas -v` prints. */
function parse(output) {
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

/** nvdisasm comes with some distributions of the toolkit; NVDISASM names it if it is not on the path. */
const NVDISASM = process.env.NVDISASM ?? 'nvdisasm';

/** How often each of these instructions occurs in the machine code of each kernel, by mangled name. */
const INSTRUCTIONS = ['HMMA', 'HGMMA', 'LDSM', 'LDGSTS'];
function disassemble(cubin) {
  const { status, stdout } = spawnSync(NVDISASM, ['-c', cubin], { encoding: 'utf8', maxBuffer: 2 ** 30 });
  if (status !== 0) throw new Error(`${NVDISASM} failed on ${cubin}`);
  const sections = stdout.split(/^\.text\.(\w+):$/m);
  const kernels = new Map();
  for (let i = 1; i < sections.length; i += 2) {
    const count = (name) => sections[i + 1].split(new RegExp(`\\s${name}\\b`)).length - 1;
    kernels.set(sections[i], Object.fromEntries(INSTRUCTIONS.map((name) => [name, count(name)])));
  }
  return kernels;
}

/** The output of nvcc while it compiles `source` to machine code. */
function compile(source, architecture, output) {
  const args = ['-std=c++20', `-arch=${architecture}`, '-cubin', '-Xptxas', '-v', '-Inative', source, '-o', output];
  return new Promise((resolve, reject) => {
    const compiler = spawn(NVCC, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [compiler.stdout, compiler.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (piece) => {
        text += piece;
      });
    }
    compiler.on('error', reject);
    compiler.on('close', (status) =>
      status === 0 ? resolve(text) : reject(new Error(`${NVCC} ${args.join(' ')}\n${text}`)),
    );
  });
}

/**
 * The kernels of the CUDA sources: name, source, threads of a block (the launch bounds in the PTX of the
 * executor's build), and for each architecture { registers, spills, stack, shared } and `instructions`, undefined without a
 * disassembler. A kernel made of the instructions of one architecture alone is empty on the others, which are left out.
 */
export async function ptxasEvidence() {
  const scratch = mkdtempSync(join(tmpdir(), 'cuda-report-'));
  const { cuda } = JSON.parse(readFileSync(join(ROOT, 'native', 'sources.json'), 'utf8'));
  const jobs = cuda.flatMap((source) => ARCHITECTURES.map((architecture) => ({ source, architecture })));
  const cubin = (i) => join(scratch, `${i}.cubin`);
  const outputs = await inParallel(jobs, ({ source, architecture }, i) => compile(source, architecture, cubin(i)));
  const instructions = jobs.map((_, i) => (hasCommand(NVDISASM) ? disassemble(cubin(i)) : new Map()));
  rmSync(scratch, { recursive: true });
  const evidenceOf = outputs.map(parse);
  const executed = kernelsOf(requireBinary());
  // Mangled names of symbols local to a source have a part that differs from one compilation to the next.
  const mangled = [...new Set([...executed.map(({ name }) => name), ...evidenceOf.flatMap((one) => [...one.keys()])])];
  const names = readable(mangled);
  const nameOf = new Map(mangled.map((name, i) => [name, names[i]]));
  const ptx = new Map(
    executed.map(({ name, target, lines }) => [
      nameOf.get(name),
      { target, text: lines.map(({ text }) => text).join('\n') },
    ]),
  );
  const isEmpty = (name, architecture) => {
    const { target } = ptx.get(name) ?? {};
    return target?.endsWith('a') && target !== architecture;
  };
  const kernels = new Map();
  for (const [i, { source, architecture }] of jobs.entries())
    for (const [long, evidence] of evidenceOf[i]) {
      const name = nameOf.get(long);
      if (isEmpty(name, architecture)) continue;
      const kernel = kernels.get(name) ?? {
        name,
        source: source.replace('native/cuda/', ''),
        threads: Number(/\.maxntid (\d+)/.exec(ptx.get(name)?.text)?.[1] ?? 1024),
      };
      kernels.set(name, { ...kernel, [architecture]: { ...evidence, instructions: instructions[i].get(long) } });
    }
  return [...kernels.values()].sort((a, b) => a.source.localeCompare(b.source) || a.name.localeCompare(b.name));
}
