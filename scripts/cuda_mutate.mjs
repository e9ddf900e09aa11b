// `npm run cuda:mutate`: breaks one executed line of the matrix products' PTX at a time, in a copy of the addon that
// was built for the PTX executor. test/cuda/products.ts or a finding of the executor must notice. `--count=N` mutants
// (96); `--seed=N` (1) chooses which. With `--at-least=PERCENT` it fails if fewer are noticed. A mutant overwrites its
// line and, if it is longer by one, the end of the line. Only the checks that execute the line run: others cannot
// notice.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inParallel } from './parallel.mjs';
import { coverageOf, DEVICES, demand, option, productKernels, runProducts } from './product_runs.mjs';
import { PTXSIM_BINARY, requireBinary, shortName } from './ptx_binary.mjs';

const COUNT = option('count', 96);

const remove = (pattern) => (text) => (pattern.test(text) ? '' : null);
const replace = (pattern, by) => (text) => (pattern.test(text) ? text.replace(pattern, by) : null);
const OPPOSITE = { lt: 'le', le: 'lt', gt: 'ge', ge: 'gt', eq: 'ne', ne: 'eq' };

/** What a mutation makes of a line: null if it does not apply. */
const MUTATIONS = {
  'no barrier': remove(/\bbar\.sync|barrier\.sync/),
  'no wait for copies': remove(/cp\.async\.wait_(group|all)/),
  'no commit of copies': remove(/cp\.async\.commit_group/),
  'no copy': remove(/cp\.async\.c[ag]\./),
  'no matrix product': remove(/\bmma\.sync|wgmma\.mma_async/),
  'no wait for products': remove(/wgmma\.wait_group/),
  'no commit of products': remove(/wgmma\.commit_group/),
  'no fence': remove(/fence\.proxy\.async/),
  'no store': remove(/\bst\.(global|shared)/),
  'no multiply-add': remove(/\bfma\.rn\.f32/),
  'matrices swapped': replace(/(?<=\bldmatrix.*)\{(%r\d+),(%r\d+),(%r\d+),(%r\d+)\}/, '{$1,$3,$2,$4}'),
  'comparison off by one': replace(/(?<=\bsetp\.)(lt|le|gt|ge)(?=\.[su])/, (code) => OPPOSITE[code]),
  'comparison inverted': replace(/(?<=\bsetp\.)(eq|ne)(?=\.[su])/, (code) => OPPOSITE[code]),
  'or for xor': replace(/\bxor\.b/, 'or.b'),
  'constant off by one': replace(/(?<=\b(?:add|shl|shr|mul\.lo|and)\.\w+\s.*, )(\d*)([0-8])(?=;)/, (_, tens, ones) =>
    String(Number(tens + ones) + 1),
  ),
  'subtraction for addition': replace(/\badd(?=\.(s32|s64|f32)\s.*%\w+;)/, 'sub'),
  'other branch': replace(/^@(%p\d+) bra/, '@!$1 bra'),
};

let state = option('seed', 1) >>> 0;
function below(limit) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
}

const binary = requireBinary();
const kernels = productKernels(binary);

/**
 * Checks of one process. A smaller number tells better which check executes a line, but a process takes half a second.
 */
const PART = 32;

/**
 * Every check on a device that has its instructions, and whether it may execute a line: it launches the kernel, and the
 * line belongs to its part.
 */
async function mapChecks(device) {
  const { printed } = await runProducts(PTXSIM_BINARY, device, ['--list']);
  const indices = [...printed.trim().split('\n').keys()];
  const parts = [];
  while (indices.length > 0) parts.push(indices.splice(0, PART));
  const checks = await inParallel(parts, async (part) => {
    const { printed, executes } = await coverageOf(device, [`--checks=${part}`], { PTXSIM_VERBOSE: '1' });
    return printed
      .split(/^check (?=\d+$)/m)
      .slice(1)
      .map((text) => {
        const launches = [...text.matchAll(/^\[ptxsim\] (\w+)<<<.* (\d+) warp instructions/gm)];
        const launched = new Set(launches.map(([, kernel]) => kernel));
        return {
          device,
          index: Number.parseInt(text, 10),
          instructions: launches.reduce((sum, [, , count]) => sum + Number(count), 0),
          executes: (kernel, line) => launched.has(kernel) && executes(kernel, line),
        };
      });
  });
  return checks.flat();
}

// The cheapest first: most mutants are noticed by any check that executes them.
const checks = [...(await mapChecks(DEVICES[0])), ...(await mapChecks(DEVICES[1]))].sort(
  (a, b) => a.instructions - b.instructions,
);

/** The executed lines that each mutation applies to, and the mutated text. */
const sites = Object.entries(MUTATIONS).map(([mutation, apply]) => {
  const found = kernels.flatMap(({ name, lines }) => {
    // If nothing is copied asynchronously, groups of copies are empty, and waiting for them has no effect.
    const copies = lines.some(({ text }) => /\bcp\.async\.c[ag]\./.test(text));
    if (!copies && mutation.endsWith('copies')) return [];
    return lines
      .map((line) => ({ ...line, kernel: name, mutated: apply(line.text) }))
      .filter(({ text, mutated }) => mutated !== null && mutated !== text && mutated.length <= text.length + 1)
      .filter((line) => checks.some(({ executes }) => executes(name, line)));
  });
  return { mutation, found };
});

const mutants = [];
const open = sites.filter(({ found }) => found.length > 0);
for (let i = 0; i < COUNT; ++i) {
  const { mutation, found } = open[i % open.length];
  if (found.length > 0) mutants.push({ mutation, ...found.splice(below(found.length), 1)[0] });
}

/** What noticed a mutant, or null. */
async function verdict(mutant, path) {
  const copy = Buffer.from(binary);
  copy.write(mutant.mutated.padEnd(mutant.text.length), mutant.offset, 'latin1');
  writeFileSync(path, copy);
  const possible = checks.filter(({ executes }) => executes(mutant.kernel, mutant));
  const [{ device }] = possible;
  const executing = possible.filter((check) => check.device === device);
  // One launch of a mutant that ends takes less than twice the time of all launches of these checks.
  const most = 2 * executing.reduce((sum, { instructions }) => sum + instructions, 0);
  const args = [`--checks=${executing.map(({ index }) => index)}`];
  const { passed, report } = await runProducts(path, device, args, { PTXSIM_MAX_INSTRUCTIONS: String(most) });
  rmSync(path);
  if (report?.findings.some(({ kind }) => kind === 'endless')) return 'no end';
  if (report === null || report.findings.length > 0) return 'finding';
  return passed ? null : 'values';
}

const scratch = mkdtempSync(join(tmpdir(), 'ptx-mutants-'));
const lines = [];
let printed = 0;
const verdicts = await inParallel(mutants, async (mutant, i) => {
  const noticed = await verdict(mutant, join(scratch, `${i}.node`));
  const where = `${shortName(mutant.kernel)}:${mutant.number}`;
  lines[i] = `${i + 1}/${mutants.length} ${noticed ?? 'SURVIVED'}: ${mutant.mutation}, ${where}: ${mutant.text.trim()}`;
  while (printed in lines) console.log(lines[printed++]);
  return noticed;
});
rmSync(scratch, { recursive: true });
const killed = verdicts.filter(Boolean).length;
const by = ['finding', 'values', 'no end'].map(
  (how) => `${verdicts.filter((noticed) => noticed === how).length} by ${how}`,
);
console.log(`${killed} of ${mutants.length} mutants killed (${by.join(', ')}), ${mutants.length - killed} survived`);
demand(killed, mutants.length);
