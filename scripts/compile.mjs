// Compiles the addon without a build system, for builds that are only tested: sanitizers, another processor.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { ROOT } from './files.mjs';
import { headersFolder } from './toolchain.mjs';

const require = createRequire(import.meta.url);

/** Whether a command can be run. */
export const hasCommand = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: 'inherit' });
    child.on('error', reject);
    child.on('exit', (status) => (status === 0 ? resolve() : reject(new Error(`${command} failed`))));
  });
}

/** Compiles native/sources.json (CPU) into `folder`; returns the path of the binary. */
export async function compileAddon(folder, compiler, flags) {
  const { core } = JSON.parse(readFileSync(join(ROOT, 'native', 'sources.json'), 'utf8'));
  const headers = headersFolder();
  if (headers === null) throw new Error('the headers of Node are not next to it; set npm_config_nodedir');
  const common = [
    '-fPIC',
    '-std=c++20',
    '-ffp-contract=fast',
    '-fno-math-errno',
    '-fno-trapping-math',
    ...['-Wall', '-Wextra', '-Werror', '-Wno-psabi', '-Wno-restrict'],
    ...['NAPI_VERSION=8', 'NODE_ADDON_API_DISABLE_DEPRECATED', 'NAPI_CPP_EXCEPTIONS'].map((name) => `-D${name}`),
    '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
    `-I${join(headers, 'include', 'node')}`,
    `-I${dirname(require.resolve('node-addon-api/package.json'))}`,
    '-Inative',
    ...flags,
  ];
  mkdirSync(folder, { recursive: true });
  const waiting = core.map((source) => ({
    source,
    object: join(folder, `${source.replaceAll('/', '_')}.o`),
  }));
  const objects = waiting.map(({ object }) => object);
  const worker = async () => {
    for (let next = waiting.pop(); next; next = waiting.pop())
      await run(compiler, ['-c', next.source, '-o', next.object, ...common]);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  const binary = join(folder, 'structured_ffn.node');
  await run(compiler, ['-shared', ...objects, '-o', binary, '-pthread', ...flags]);
  return binary;
}
