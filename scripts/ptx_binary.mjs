// The PTX inside a build for the PTX executor.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ROOT } from './files.mjs';

const require = createRequire(import.meta.url);
export const PTXSIM_FOLDER = join(ROOT, 'build-ptxsim');
export const PTXSIM_BINARY = join(PTXSIM_FOLDER, 'Release', 'structured_ffn.node');

/** Builds the addon with the executor instead of the CUDA runtime, or ends this process. */
export function buildForExecutor() {
  const cmakeJs = join(dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js');
  const configured = existsSync(join(PTXSIM_FOLDER, 'CMakeCache.txt')) ? 'build' : 'rebuild';
  const args = [cmakeJs, configured, '-O', PTXSIM_FOLDER, '--CDSTRUCTURED_FFN_CUDA=SIM'];
  if (spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' }).status === 0) return;
  console.error('CUDA: the build for the PTX executor failed');
  process.exit(1);
}

/** An instruction, with or without a predicate: not a directive, a label, a brace or an empty line. */
export const isInstruction = (line) => /^\s*(@!?%\w+\s+)?[a-z][a-z0-9]*[.\w:]*(\s|;)/.test(line);

export function requireBinary() {
  if (existsSync(PTXSIM_BINARY)) return readFileSync(PTXSIM_BINARY);
  console.error('CUDA: build for the PTX executor first: npm run test:ptxsim');
  process.exit(1);
}

/** 90 of `sm_90a`. */
const versionOf = (target) => Number.parseInt(target.slice(3), 10);

/**
 * Every kernel in the uncompressed PTX of `binary`: its name, its target, its lines as { number in the module from 1,
 * text, offset in the file where it starts }. If a kernel was compiled for several targets, the latest one.
 */
export function kernelsOf(binary) {
  const kernels = new Map();
  for (let at = binary.indexOf('\n.version '); at >= 0; at = binary.indexOf('\n.version ', at + 1)) {
    let offset = binary.lastIndexOf(0, at) + 1;
    const end = binary.indexOf(0, at);
    const module = binary.toString('latin1', offset, end);
    const target = /^\.target (\w+)/m.exec(module)[1];
    let current = null;
    module.split('\n').forEach((text, i) => {
      const entry = /\.entry (\w+)/.exec(text);
      if (entry) {
        current = { name: entry[1], target, lines: [] };
        const known = kernels.get(current.name);
        if (!known || versionOf(known.target) < versionOf(target)) kernels.set(current.name, current);
      }
      current?.lines.push({ number: i + 1, text, offset });
      if (text === '}') current = null;
      offset += text.length + 1;
    });
    at = end;
  }
  return [...kernels.values()];
}

/** `gemm_bf16<128,1,0,1>` for the mangled name of a kernel. */
export function shortName(mangled) {
  const name = /(?<=\d)(?:gemm_[a-z\d_]+|add_parts)(?=I)/.exec(mangled)?.[0] ?? mangled;
  const values = [...mangled.matchAll(/L[ib](\d+)E|I(f|13__nv_bfloat16)/g)].map(([, n, type]) =>
    type ? (type === 'f' ? 'f32' : 'bf16') : n,
  );
  return `${name}<${values.join(',')}>`;
}
