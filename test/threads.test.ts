/** More threads than processors are never used: they would wait for each other's processors. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { getNumThreads, matmul, ones, setNumThreads } from '../lib';
import { native } from '../lib/native';

const ROOT = join(__dirname, '..');
const most = native.availableProcessors();
const before = getNumThreads();
afterEach(() => setNumThreads(before));

/** What a process of its own writes to standard error, and its numbers of threads. */
function warnings(program: string, variables: Readonly<Record<string, string>> = {}) {
  const { stdout, stderr, status } = spawnSync(process.execPath, ['-r', './scripts/register_ts.cjs', '-e', program], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, ...variables },
  });
  expect(status).toBe(0);
  return { threads: stdout.trim(), stderr: stderr.replaceAll(/^\(Use `node --trace-warnings.*\n/gm, '') };
}

const warning = (where: string, count: number) =>
  new RegExp(
    `^\\(node:\\d+\\) \\[SFFN_THREADS\\] Warning: ${where}: ${count} threads would share the ${most} processors ` +
      `that this process may use; ${most} are used\\n$`,
  );

test('as many threads as processors, hyper-threads counted, are taken as they are', () => {
  expect(most).toBeGreaterThanOrEqual(native.availableCores());
  for (const count of [1, most]) {
    setNumThreads(count);
    expect(getNumThreads()).toBe(count);
  }
});

test('of more, only so many are used, with the same bits', () => {
  const product = () => matmul(ones([200, 300]), ones([300, 400])).toArray();
  setNumThreads(1);
  const expected = product();
  const tasks = () => (process.platform === 'linux' ? readdirSync('/proc/self/task').length : 0);
  const alone = tasks();
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation();
  setNumThreads(1024);
  expect(warn).toHaveBeenCalledTimes(1);
  warn.mockRestore();
  expect(getNumThreads()).toBe(most);
  expect(product()).toEqual(expected);
  expect(tasks() - alone).toBeLessThan(most);
});

test('a process is warned once, whichever of its threads asks', () => {
  const worker = "require('./scripts/register_ts.cjs'); require('./lib').setNumThreads(1000)";
  const program = `const { getNumThreads, setNumThreads } = require('./lib');
    const { Worker } = require('node:worker_threads');
    setNumThreads(${most});
    setNumThreads(1023);
    setNumThreads(1024);
    new Worker(${JSON.stringify(worker)}, { eval: true }).on('exit', () => console.log(getNumThreads()));`;
  expect(warnings(program)).toEqual({
    threads: String(most),
    stderr: expect.stringMatching(warning('setNumThreads', 1023)),
  });
});

test('the variable is held to the same, and nonsense in it is no warning', () => {
  const print = "console.log(require('./lib').getNumThreads())";
  const name = 'STRUCTURED_FFN_NUM_THREADS';
  expect(warnings(print, { [name]: '1024' })).toEqual({
    threads: String(most),
    stderr: expect.stringMatching(warning(name, 1024)),
  });
  expect(warnings(print, { [name]: String(most) })).toEqual({ threads: String(most), stderr: '' });
  expect(warnings("require('./lib')", { [name]: '1025' }).stderr).toBe('');
});
