/** What V8 is made to collect: nothing in a steady training step, and what nobody disposed before memory runs out. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { SANITIZED } from './support';

const ROOT = join(__dirname, '..', '..');

/** What a scenario of collections_child.ts printed. Sizes are in MiB. */
function run(scenario: string): Record<string, number> {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    // Without the collections that V8 makes when it has been idle for a time.
    [
      '--expose-gc',
      '--no-memory-reducer',
      '-r',
      './scripts/register_ts.cjs',
      'test/native/collections_child.ts',
      scenario,
    ],
    { cwd: ROOT, encoding: 'utf8', timeout: 100_000 },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

(SANITIZED ? describe.skip : describe)('collections', () => {
  test('a steady training step collects nothing and leaves nothing to be collected', () => {
    const { major, left, peak } = run('training');
    // What is freed and allocated again in each step is several times what V8 would take for garbage.
    expect(peak).toBeGreaterThan(256);
    expect({ major, left }).toEqual({ major: 0, left: 0 });
  }, 110_000);

  // 4 GiB pass in 16 MiB each; what may pile up before a collection is 64 MiB, or as much as stays, or half of what is left.
  test.each<[string, string, number, number]>([
    ['alone', 'garbage', 64, 40],
    ['beside 1 GiB that stays', 'garbageBesideMuch', 2048, 2],
    ['under a limit of 700 MiB, of which 512 stay', 'garbageUnderLimit', 606, 30],
  ])(
    'tensors that nobody disposed are collected: %s',
    (_, scenario, most, least) => {
      const { major, peak } = run(scenario);
      expect(peak).toBeLessThanOrEqual(most + 64);
      expect(major).toBeGreaterThanOrEqual(least);
    },
    110_000,
  );

  test('no memory is refused that fits without garbage', () => {
    expect(run('refusal')).toEqual({ refused: 0 });
  });

  test('garbage goes when nothing is allocated any more', () => {
    expect(run('idle')).toEqual({ left: 0 });
  });

  test.each(['noTurn', 'noTurnUndisposed'])(
    '%s: tensors made without a turn of the event loop leave nothing behind',
    (scenario) => {
      const { heap, rss } = run(scenario);
      expect(heap).toBeLessThan(1e6);
      expect(rss).toBeLessThan(40e6); // 300 bytes of each would be 60 MB
    },
  );
});
