// Format, lint and types of everything. --fix formats instead of complaining.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { filesOf, ROOT } from './files.mjs';

const fix = process.argv.includes('--fix');

function run(name, command, args) {
  const result = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (result.error) console.error(`check: ${name}: ${result.error.message}`);
  console.log(`check: ${name} ${result.status === 0 ? 'passed' : 'failed'}`);
  return result.status === 0;
}

function clangFormat() {
  const found = spawnSync('clang-format', ['--version'], { encoding: 'utf8' });
  if (found.status !== 0) {
    console.log('check: clang-format is not installed, so the C++ format was not checked');
    return true;
  }
  const sources = ['native', 'test', 'tools']
    .flatMap((folder) => filesOf(join(ROOT, folder)))
    .filter((file) => /\.(cc|h|inl|cu|cuh)$/.test(file));
  return run('clang-format', 'clang-format', fix ? ['-i', ...sources] : ['--dry-run', '-Werror', ...sources]);
}

const bin = (name) => join(ROOT, 'node_modules', '.bin', name);
const results = [
  run('biome', bin('biome'), ['check', ...(fix ? ['--write'] : [])]),
  clangFormat(),
  run('types', bin('tsc'), ['--noEmit']),
];
process.exit(results.every(Boolean) ? 0 : 1);
