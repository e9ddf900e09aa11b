// Runs jest on the newest Node, with the present build of the addon: process exit, threads and memory depend on Node.
// Arguments are jest's; without any it runs the tests of those.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { JEST } from './jest.mjs';
import { skip } from './skip.mjs';

const given = process.argv.slice(2);
const tests =
  given.length > 0 ? given : ['test/native/safety', 'test/native/async', 'test/native/collections', 'test/functional'];

if (process.platform !== 'linux') skip('Node comes from npm for Linux only');
const name = `node-linux-${process.arch}`;
const folder = join(ROOT, 'build', 'newest-node');
const installed = spawnSync(
  'npm',
  ['install', '--prefix', folder, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@latest`],
  { cwd: ROOT, stdio: 'inherit' },
);
if (installed.status !== 0) skip(`${name} could not be had from npm`);
const node = join(folder, 'node_modules', name, 'bin', 'node');
console.log(`Node ${spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim()}`);
process.exit(spawnSync(node, [JEST, ...tests], { cwd: ROOT, stdio: 'inherit' }).status ?? 1);
