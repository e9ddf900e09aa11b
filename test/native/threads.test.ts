/** Threads of JavaScript that compute at once get the bits that each gets alone. npm run test:threads looks for races in it. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const LONG = process.env.STRUCTURED_FFN_LONG === '1';

test('layers, jobs, decoders and training in four threads at once, while settings change', () => {
  const [rounds, workers] = LONG ? [60, 8] : [3, 3];
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['-r', './scripts/register_ts.cjs', 'test/native/threads_child.ts', String(rounds), String(workers)],
    { cwd: join(__dirname, '..', '..'), encoding: 'utf8', timeout: 500_000 },
  );
  expect({ status, stderr, stdout }).toEqual({ status: 0, stderr: '', stdout: 'the same everywhere\n' });
}, 510_000);
