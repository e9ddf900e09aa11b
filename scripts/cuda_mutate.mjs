// `npm run cuda:mutate`: breaks one executed line of the matrix products' PTX at a time, in a copy of the addon that was built
// for the PTX executor, and demands that test/cuda/products.ts or a finding of the executor notices. `--count=N` mutants
// (96), `--seed=N` (1) chooses which. A mutant is written over its line and, where it is longer by one, the end of the line.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isInstruction, kernelsOf, PTXSIM_BINARY, requireBinary, runProducts, shortName } from './ptx_binary.mjs';

const option = (name, fallback) =>
  Number(process.argv.find((text) => text.startsWith(`--${name}=`))?.split('=')[1] ?? fallback);
const COUNT = option('count', 96);

const remove = (pattern) => (text) => (pattern.test(text) ? '' : null);
const replace = (pattern, by) => (text) => (pattern.test(text) ? text.replace(pattern, by) : null);
const OPPOSITE = { lt: 'le', le: 'lt', gt: 'ge', ge: 'gt', eq: 'ne', ne: 'eq' };

/** What a mutation makes of a line: null where it does not apply. */
const MUTATIONS = {
  'no barrier': remove(/\bbar\.sync|barrier\.sync/),
  'no wait for copies': remove(/cp\.async\.wait_(group|all)/),
  'no commit of copies': remove(/cp\.async\.commit_group/),
  'no copy': remove(/cp\.async\.c[ag]\./),
  'no matrix product': remove(/\bmma\.sync/),
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
const kernels = kernelsOf(binary).filter(({ name }) => /gemm_|add_parts/.test(name));
const scratch = mkdtempSync(join(tmpdir(), 'ptx-mutants-'));
const reportPath = join(scratch, 'report.json');
const begin = Date.now();
const original = runProducts(PTXSIM_BINARY, reportPath, { env: { PTXSIM_COVERAGE: '1' } });
if (original.status !== 0 || original.report?.findings.length !== 0) {
  console.error(`CUDA: the products are wrong before any mutation: ${original.stderr}`);
  process.exit(1);
}

// A mutant that takes this long does not end: not merely on a machine that has other work, too.
const timeout = 5 * (Date.now() - begin);

/** The executed lines that each mutation applies to, and what it makes of them. */
const sites = Object.entries(MUTATIONS).map(([mutation, apply]) => {
  const found = kernels.flatMap((kernel) => {
    // Where nothing is copied asynchronously, groups of copies are empty, and waiting for them is nothing.
    const copies = kernel.lines.some(({ text }) => /\bcp\.async\.c[ag]\./.test(text));
    if (!copies && mutation.endsWith('copies')) return [];
    const counts = original.report.kernels.find(({ name }) => name === kernel.name)?.lines ?? {};
    return kernel.lines
      .filter(({ number, text }) => counts[number] > 0 && isInstruction(text))
      .map((line) => ({ ...line, kernel: kernel.name, mutated: apply(line.text) }))
      .filter(({ text, mutated }) => mutated !== null && mutated !== text && mutated.length <= text.length + 1);
  });
  return { mutation, found };
});

const mutants = [];
const open = sites.filter(({ found }) => found.length > 0);
for (let i = 0; i < COUNT; ++i) {
  const { mutation, found } = open[i % open.length];
  if (found.length > 0) mutants.push({ mutation, ...found.splice(below(found.length), 1)[0] });
}

/** How a mutant was noticed, or null. */
function verdict({ status, report }) {
  if (status === null) return 'no end';
  if (report === null || report.findings.length > 0) return 'finding';
  return status === 0 ? null : 'values';
}

const verdicts = new Map();
const survivors = [];
const path = join(scratch, 'mutant.node');
for (const [i, mutant] of mutants.entries()) {
  const copy = Buffer.from(binary);
  copy.write(mutant.mutated.padEnd(mutant.text.length), mutant.offset, 'latin1');
  writeFileSync(path, copy);
  const noticed = verdict(runProducts(path, reportPath, { timeout }));
  verdicts.set(noticed, (verdicts.get(noticed) ?? 0) + 1);
  if (!noticed) survivors.push(mutant);
  const where = `${shortName(mutant.kernel)}:${mutant.number}`;
  console.log(
    `${i + 1}/${mutants.length} ${noticed ?? 'SURVIVED'}: ${mutant.mutation}, ${where}: ${mutant.text.trim()}`,
  );
}
rmSync(scratch, { recursive: true });
const killed = mutants.length - survivors.length;
const by = [...verdicts].filter(([how]) => how).map(([how, n]) => `${n} by ${how}`);
console.log(`${killed} of ${mutants.length} mutants killed (${by.join(', ')}), ${survivors.length} survived`);
