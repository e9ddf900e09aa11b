/** Long runs leave nothing behind: STRUCTURED_FFN_LONG=1 takes 100,000 training steps and ends 1,000 workers. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const LONG = process.env.STRUCTURED_FFN_LONG === '1';

interface Growth {
  readonly rss: number;
  readonly allocated: number;
}

function grown(scenario: string, count: number): Growth {
  const { stdout, stderr, status, signal } = spawnSync(
    process.execPath,
    ['--expose-gc', '-r', './scripts/register_ts.cjs', 'test/soak/soak_child.ts', scenario, String(count)],
    { cwd: join(__dirname, '..', '..'), encoding: 'utf8', timeout: 1_700_000 },
  );
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  return JSON.parse(stdout);
}

/** The heap of V8 moves by some MB on its own; 120 bytes of each step would be 12 MB in the long form. */
const MOST = LONG ? 12e6 : 24e6;

test.each(['trainingWithTurns', 'trainingWithoutTurns'])(
  '%s',
  (scenario) => {
    const { rss, allocated } = grown(scenario, LONG ? 100_000 : 2000);
    expect(allocated).toBe(0);
    expect(rss).toBeLessThan(MOST);
  },
  1_800_000,
);

test('tensors that nobody disposes, without a turn of the event loop', () => {
  // 400 bytes of each would be 40 MB, or 400 in the long form.
  expect(grown('undisposed', LONG ? 1_000_000 : 100_000).rss).toBeLessThan(24e6);
}, 1_800_000);

test('workers that are terminated while they compute', () => {
  const { rss, allocated } = grown('workers', LONG ? 1000 : 20);
  expect(allocated).toBe(0);
  expect(rss).toBeLessThan(LONG ? 60e6 : 40e6);
}, 1_800_000);
