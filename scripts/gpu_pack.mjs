// `npm run gpu:pack`: one archive with everything that gpu/run.sh needs on a machine without Node or network: Node, the
// addon with CUDA, lib, test, bench and gpu as JavaScript, jest with its dependencies, the rivals in Python. The same
// inputs give the same bytes. Options: --binary=PATH for another addon, --out=PATH, --level=0 to 9 of xz.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { transformSync } from '@swc/core';
import { CUDA_BINARY, filesOf, ROOT } from './files.mjs';

const MOST_BYTES = 40 * 2 ** 20;

function fail(message) {
  console.error(`gpu:pack: ${message}`);
  process.exit(1);
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        binary: { type: 'string' },
        out: { type: 'string', default: join(ROOT, 'build-gpu', 'kit.tar.xz') },
        level: { type: 'string', default: '9' },
      },
    }).values;
  } catch (error) {
    return fail(error.message);
  }
}

const options = readOptions();
const archive = resolve(options.out);
const tree = join(dirname(archive), 'tree');

if (!/^[0-9]$/.test(options.level)) fail(`--level: expected 0 to 9, got ${options.level}`);
if (process.platform !== 'linux') fail('the archive is for Linux, and made there');

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) fail(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`);
}

/** A program or library without the parts that only linkers and debuggers read. */
function copyStripped(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
  run('strip', ['--strip-unneeded', to]);
}

function copyCompiled(folder) {
  for (const file of filesOf(join(ROOT, folder))) {
    const to = join(tree, relative(ROOT, file));
    if (file.endsWith('.d.ts')) continue;
    mkdirSync(dirname(to), { recursive: true });
    if (file.endsWith('.ts')) {
      const { code } = transformSync(readFileSync(file, 'utf8'), {
        filename: file,
        swcrc: false,
        jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
        module: { type: 'commonjs', ignoreDynamic: true },
      });
      writeFileSync(to.replace(/\.ts$/, '.js'), code);
    } else if (file.endsWith('.py') || relative(ROOT, file).startsWith(join('test', 'fixtures'))) {
      copyFileSync(file, to);
    }
  }
}

/**
 * Imports of the tests and of our own code that no test needs: compilers of TypeScript, and other platforms' binaries.
 */
const PACKAGES = ['jest', 'fast-check', 'commander', 'picocolors', '@huggingface/tokenizers'];
const LEFT_OUT = new Set(['typescript', 'ts-node', 'esbuild-register', 'node-notifier', 'fsevents']);
const UNNEEDED = /\.(d\.[cm]?ts|map|md|flow|markdown)$|\/(esm|docs?)\//;

/** The folders of packages and of all their dependencies, as Node would find them. */
function closure(names) {
  const found = new Set();
  const visit = (name, from, optional) => {
    if (LEFT_OUT.has(name)) return;
    for (let folder = from; ; folder = dirname(folder)) {
      const path = join(folder, 'node_modules', name);
      if (existsSync(join(path, 'package.json'))) {
        if (found.has(path)) return;
        found.add(path);
        const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
          readFileSync(join(path, 'package.json'), 'utf8'),
        );
        for (const needed of Object.keys(dependencies)) visit(needed, path, needed in optionalDependencies);
        for (const wanted of Object.keys(optionalDependencies)) visit(wanted, path, true);
        return;
      }
      if (folder !== ROOT) continue;
      if (!optional) fail(`${name}, which ${relative(ROOT, from) || 'the archive'} needs, is not installed`);
      return;
    }
  };
  for (const name of names) visit(name, ROOT, false);
  return [...found];
}

function copyPackage(folder) {
  const filter = (from) => !from.startsWith(join(folder, 'node_modules')) && !UNNEEDED.test(relative(folder, from));
  cpSync(folder, join(tree, relative(ROOT, folder)), { recursive: true, dereference: true, filter });
}

const JEST_CONFIG = `module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.js'],
  transform: {},
};
`;

function commit() {
  const git = (...args) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: 'pipe' }).trim();
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no') !== '';
    return `${git('rev-parse', '--short', 'HEAD')}${changed ? ' with changes' : ''}`;
  } catch {
    return 'unknown';
  }
}

if (options.binary === undefined) run(process.execPath, ['scripts/build.mjs', '--cuda']);
const binary = resolve(options.binary ?? CUDA_BINARY);
if (!existsSync(binary)) fail(`--binary: there is no ${binary}`);

rmSync(tree, { recursive: true, force: true });
copyStripped(process.execPath, join(tree, 'bin', 'node'));
copyStripped(binary, join(tree, relative(ROOT, CUDA_BINARY)));
for (const folder of ['lib', 'test', 'bench', 'gpu']) copyCompiled(folder);
for (const folder of closure(PACKAGES)) copyPackage(folder);
copyFileSync(join(ROOT, 'package.json'), join(tree, 'package.json'));
writeFileSync(join(tree, 'jest.config.js'), JEST_CONFIG);
writeFileSync(join(tree, 'kit.json'), JSON.stringify({ commit: commit() }));

const fixed = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=go-w'];
const plain = join(dirname(archive), 'kit.tar');
run('tar', ['-C', tree, ...fixed, '-cf', plain, '.']);
// With two threads on any machine: xz cuts its blocks differently with one thread and with several.
run('xz', [`-${options.level}`, '-T2', '--force', plain]);
rmSync(tree, { recursive: true });
const made = `${plain}.xz`;
if (made !== archive) {
  copyFileSync(made, archive);
  rmSync(made);
}
const bytes = statSync(archive).size;
console.log(`gpu:pack: ${relative(process.cwd(), archive)}, ${(bytes / 2 ** 20).toFixed(1)} MiB`);
if (bytes > MOST_BYTES) fail(`the archive is larger than ${MOST_BYTES / 2 ** 20} MiB`);
