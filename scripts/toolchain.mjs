// What the native build needs on the machine, and messages for what is missing.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

const runs = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

const INSTALL = {
  linux: 'On Debian or Ubuntu: apt-get install g++ make python3',
  darwin: 'On macOS: xcode-select --install',
};

/** The missing tools, one line each; empty if all are there. node-gyp finds Visual Studio by itself. */
export function missingTools() {
  if (process.platform === 'win32') return [];
  const python = process.env.npm_config_python ?? process.env.PYTHON;
  const wanted = [
    [
      'a C++20 compiler (g++ or clang++, or CXX)',
      process.env.CXX ? [process.env.CXX.split(' ')[0]] : ['g++', 'clang++'],
    ],
    ['make', [process.env.MAKE ?? 'make']],
    ['Python 3', python ? [python] : ['python3', 'python']],
  ];
  return wanted.filter(([, commands]) => !commands.some(runs)).map(([what]) => what);
}

export const installHint = () => INSTALL[process.platform] ?? 'Install them and run the command again.';

/**
 * The folder whose include/node has the headers of the running Node, if they came with it: then nothing is downloaded.
 */
export function headersFolder() {
  const given = process.env.npm_config_nodedir;
  if (given) return given;
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? prefix : null;
}
