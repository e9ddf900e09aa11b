// Runs jest on an addon built with sanitizers (g++, Linux). Arguments are jest's.
// Without an option: AddressSanitizer and UndefinedBehaviorSanitizer; no arguments: all tests of ops, kernels and raw arrays.
// --thread: ThreadSanitizer; no arguments: the tests of threads, jobs and workers.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { compileAddon, hasCommand } from './compile.mjs';
import { ROOT } from './files.mjs';
import { runSlowed } from './jest.mjs';
import { skip } from './skip.mjs';

if (process.platform !== 'linux' || !hasCommand('g++')) skip('it needs Linux and g++');

const MEMORY = {
  folder: 'build-sanitize',
  // Operands of any alignment are allowed: typed arrays may begin anywhere.
  flags: ['-fsanitize=address,undefined', '-fno-sanitize=alignment', '-fno-sanitize-recover=undefined'],
  libraries: ['libasan.so', 'libubsan.so'],
  options: {
    // Node itself does not free all memory at exit. An impossible allocation must be reported as our error.
    ASAN_OPTIONS: 'detect_leaks=0,allocator_may_return_null=1',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  },
  tests: ['test/ops', 'test/native', 'test/functional', 'test/conformance'],
};

const THREADS = {
  folder: 'build-sanitize-thread',
  // Instrumented loops over the lanes of a vector look to g++ as if they might leave some of them unset.
  flags: ['-fsanitize=thread', '-Wno-maybe-uninitialized'],
  libraries: ['libtsan.so'],
  options: {
    // Node and other addons are not instrumented: what orders their accesses cannot be seen. Calls of memcpy, free and the
    // like count where our code makes them; locks and threads count everywhere.
    TSAN_OPTIONS: 'ignore_noninstrumented_modules=1',
  },
  tests: ['test/native/threads', 'test/native/safety', 'test/functional/async', 'test/decode/generate'],
};

const given = process.argv.slice(2);
const threads = given[0] === '--thread';
if (threads) given.shift();
const { folder, flags, libraries, options, tests } = threads ? THREADS : MEMORY;
const binary = await compileAddon(join(ROOT, folder), 'g++', ['-O1', '-g', ...flags]);
const library = (name) => spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
process.exit(
  runSlowed(['--runInBand', ...(given.length > 0 ? given : tests)], {
    STRUCTURED_FFN_BINARY: binary,
    LD_PRELOAD: libraries.map(library).join(' '),
    ...options,
  }),
);
