// Runs jest on an addon whose AVX-512 kernels are compiled for AVX2, with their intrinsics emulated: for processors without
// AVX-512 or its bfloat16 products. Arguments are jest's; without any it runs the tests of ops and kernels.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { compileAddon, hasCommand } from './compile.mjs';
import { ROOT } from './files.mjs';
import { skip } from './skip.mjs';

if (process.arch !== 'x64' || !hasCommand('g++')) skip('it needs an x64 processor and g++');
const given = process.argv.slice(2);
const tests = given.length > 0 ? given : ['test/ops', 'test/native', 'test/decode/products'];

const header = join(ROOT, 'test', 'native', 'emulated_avx512.h');
const binary = await compileAddon(join(ROOT, 'build-avx512'), 'g++', ['-O2', '-DNDEBUG', '-include', header]);
const jest = join(dirname(createRequire(import.meta.url).resolve('jest/package.json')), 'bin', 'jest.js');
const { status } = spawnSync(process.execPath, [jest, ...tests], {
  cwd: ROOT,
  stdio: 'inherit',
  env: {
    ...process.env,
    STRUCTURED_FFN_BINARY: binary,
    STRUCTURED_FFN_TEST_ISAS: 'avx512bf16,avx512',
  },
});
process.exit(status ?? 1);
