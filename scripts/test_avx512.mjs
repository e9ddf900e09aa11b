// Runs jest on an addon whose AVX-512 kernels are compiled for AVX2, with their intrinsics emulated: for processors without
// AVX-512 or its bfloat16 products. Arguments are jest's; without any it runs the tests of ops and kernels.
import { join } from 'node:path';
import { compileAddon, hasCommand } from './compile.mjs';
import { ROOT } from './files.mjs';
import { runSlowed } from './jest.mjs';
import { skip } from './skip.mjs';

if (process.arch !== 'x64' || !hasCommand('g++')) skip('it needs an x64 processor and g++');
const given = process.argv.slice(2);
const DEFAULT = ['test/ops', 'test/native', 'test/decode/products', 'test/decode/int8_rows', 'test/decode/cache_dtype'];
const tests = given.length > 0 ? given : DEFAULT;

const header = join(ROOT, 'test', 'native', 'emulated_avx512.h');
const binary = await compileAddon(join(ROOT, 'build-avx512'), 'g++', ['-O2', '-DNDEBUG', '-include', header]);
process.exit(runSlowed(tests, { STRUCTURED_FFN_BINARY: binary, STRUCTURED_FFN_TEST_ISAS: 'avx512bf16,avx512' }));
