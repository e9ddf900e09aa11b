// Runs jest on an addon built with AddressSanitizer and UndefinedBehaviorSanitizer (g++, Linux). Arguments are jest's; without
// any it runs all tests of ops, kernels and raw arrays.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { compileAddon, hasCommand } from './compile.mjs';
import { ROOT } from './files.mjs';
import { skip } from './skip.mjs';

if (process.platform !== 'linux' || !hasCommand('g++')) skip('it needs Linux and g++');
const given = process.argv.slice(2);
const tests = given.length > 0 ? given : ['test/ops', 'test/native', 'test/functional', 'test/conformance'];

// Operands of any alignment are allowed: typed arrays may begin anywhere.
const flags = [
  '-O1',
  '-g',
  '-fsanitize=address,undefined',
  '-fno-sanitize=alignment',
  '-fno-sanitize-recover=undefined',
];
const binary = await compileAddon(join(ROOT, 'build-sanitize'), 'g++', flags);
const library = (name) => spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
const jest = join(dirname(createRequire(import.meta.url).resolve('jest/package.json')), 'bin', 'jest.js');
const { status } = spawnSync(process.execPath, [jest, '--runInBand', ...tests], {
  cwd: ROOT,
  stdio: 'inherit',
  env: {
    ...process.env,
    STRUCTURED_FFN_BINARY: binary,
    LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
    // Node itself does not free all memory at exit. An impossible allocation must be reported as our error.
    ASAN_OPTIONS: 'detect_leaks=0,allocator_may_return_null=1',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  },
});
process.exit(status ?? 1);
