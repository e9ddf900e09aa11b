import { memoryStats } from '../../lib/device';
import { Storage } from '../../lib/storage';

test.each([1, 65, 1000, 1_700_000, 2_097_152, 2_359_296, 3_538_944, 4_718_592, 6_291_457, 9_437_184, 20_000_000])(
  'at most a fifth of a block for %d bytes is unused',
  (bytes) => {
    const before = memoryStats().allocated;
    using _ = new Storage(bytes, 'int8');
    const block = memoryStats().allocated - before;
    expect(block).toBeGreaterThanOrEqual(bytes);
    expect(block).toBeLessThanOrEqual(Math.max(64, 1.25 * bytes) + 64);
  },
);
