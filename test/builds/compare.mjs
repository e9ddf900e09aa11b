// `npm run test:builds`: the node-gyp and the cmake-js build give the same bits. Needs cmake.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { hasCommand } from '../../scripts/compile.mjs';
import { BINARY, ROOT } from '../../scripts/files.mjs';
import { skip } from '../../scripts/skip.mjs';

const CMAKE_BINARY = join(ROOT, 'build-cmake', 'Release', 'structured_ffn.node');

function run(args, env = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) {
    console.error(`${stdout}${stderr}`);
    throw new Error(`${args.join(' ')} failed`);
  }
  return stdout;
}

const fingerprint = (binary) =>
  run(['-r', './scripts/register_ts.cjs', 'test/builds/fingerprint.ts'], { STRUCTURED_FFN_BINARY: binary }).split('\n');

if (!hasCommand('cmake')) skip('not installed: cmake');
run(['scripts/build.mjs', '--native']);
run(['node_modules/cmake-js/bin/cmake-js', 'build', '-O', 'build-cmake', '--CDSTRUCTURED_FFN_CUDA=OFF']);
const [gyp, cmake] = [BINARY, CMAKE_BINARY].map(fingerprint);
const different = gyp.filter((line, i) => line !== cmake[i]);
for (const line of different) console.error(`the builds differ: ${line}`);
console.log(`builds: ${gyp.length - 1} results compared, ${different.length} differ`);
process.exit(different.length === 0 && gyp.length === cmake.length ? 0 : 1);
