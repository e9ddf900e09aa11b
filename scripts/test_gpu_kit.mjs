// Tests the archive of `npm run gpu:pack` as a bare machine gets it: packed with the CPU's addon and unpacked in an
// empty place. A shell that knows neither Node nor this checkout runs the stages from it on the CPU.
import assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { BINARY, filesOf, ROOT } from './files.mjs';
import { skip } from './skip.mjs';

if (process.platform !== 'linux') skip('it is for Linux');

const folder = mkdtempSync(join(tmpdir(), 'gpu-kit-'));
const at = (name) => join(folder, name);
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function run(command, args, options = {}) {
  const { status, stdout, error } = spawnSync(command, args, { encoding: 'utf8', ...options });
  if (error) throw error;
  return { status, stdout };
}

/** The tools that gpu/run.sh and the kit may use; node is not among them. */
const TOOLS = ['bash', 'basename', 'cat', 'dirname', 'mkdir', 'mktemp', 'rm', 'tar', 'tee', 'timeout', 'xz', 'sh'];

function toolsAlone() {
  mkdirSync(at('bin'));
  for (const tool of TOOLS) {
    const path = process.env.PATH.split(':')
      .map((entry) => join(entry, tool))
      .find((candidate) => {
        try {
          accessSync(candidate, constants.X_OK);
          return true;
        } catch {
          return false;
        }
      });
    assert(path, `${tool} is not installed`);
    symlinkSync(path, at(`bin/${tool}`));
  }
}

toolsAlone();
// The same tree as on the target machine: run.sh and the archive, and no Node modules above it.
for (const name of ['tree/gpu', 'tree/build-gpu', 'home', 'elsewhere']) mkdirSync(at(name), { recursive: true });
writeFileSync(at('tree/gpu/run.sh'), readFileSync(join(ROOT, 'gpu', 'run.sh')));
const kit = at('tree/build-gpu/kit.tar.xz');
const packed = run(process.execPath, ['scripts/gpu_pack.mjs', `--binary=${BINARY}`, `--out=${kit}`, '--level=0'], {
  cwd: ROOT,
  stdio: 'inherit',
});
assert.equal(packed.status, 0, 'packing failed');

/** Runs the stages; returns the contents of the files that they write. */
function stages(...args) {
  const env = { PATH: at('bin'), HOME: at('home'), OUT: at('results') };
  const { status, stdout } = run(at('bin/bash'), [at('tree/gpu/run.sh'), ...args], { cwd: at('elsewhere'), env });
  process.stdout.write(stdout);
  const rows = readFileSync(at('results/results.jsonl'), 'utf8').trim().split('\n').map(JSON.parse);
  return { status, stdout, rows };
}
const end = (rows, name) => rows.findLast(({ kind, command }) => kind === 'end' && command === name);

// Without a device everything stops at the probe, and says why.
const blind = stages('--stages=d');
assert.equal(blind.status, 1);
assert.match(end(blind.rows, 'probe').detail, /does not see device 'cuda': not built/);
assert.equal(end(blind.rows, 'kernels'), undefined);
assert.match(blind.stdout, /nothing else is run/);

const { status, rows } = stages('--device=cpu', '--size=tiny', '--stages=a,b,c,d,e,f,g');
assert.equal(status, 0, 'a stage failed');
const ofKind = (kind) => rows.filter((row) => row.kind === kind);
for (const name of ['probe', 'tests', 'large sizes', 'threads', 'kernels', 'training', 'decoding'])
  assert.equal(end(rows, name).outcome, 'passed', name);
for (const name of ['PyTorch', 'memcheck', 'products in bfloat16', 'ncu', 'training of PyTorch']) {
  assert.equal(end(rows, name).outcome, 'skipped', name);
  assert.match(end(rows, name).detail, /^it needs /);
}
// The tests of the tiny size in gpu/plan.ts, every file of them.
const tests = filesOf(join(ROOT, 'test'))
  .map((file) => relative(ROOT, file))
  .filter((file) => /^test\/(ops\/(linear|attention)|optim\/).*\.test\.ts$/.test(file))
  .map((file) => file.replace(/\.ts$/, ''));
assert(tests.length >= 3);
assert.deepEqual(
  ofKind('tests')
    .map(({ file }) => file)
    .sort(),
  tests.sort(),
);
assert(ofKind('tests').every(({ passed, failed }) => passed > 0 && failed === 0));
assert(ofKind('check').length > 50 && ofKind('check').every(({ passed }) => passed));
for (const kind of ['kernel', 'training', 'decoding']) assert(ofKind(kind).length > 0, kind);
assert.deepEqual(ofKind('failure'), []);
assert(readdirSync(at('results')).length <= 8);

console.log('GPU kit: passed');
