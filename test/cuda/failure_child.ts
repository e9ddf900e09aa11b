/** What process.test.ts runs in a process of its own: the device is of no use afterwards. */
import { zeros } from '../../lib';
import { kernels } from '../../lib/kernels';

const on = { device: 'cuda' } as const;
const ids = zeros([1], { ...on, dtype: 'int32' });
const [table, y] = [zeros([4, 4], on), zeros([1, 4], on)];
kernels.fill({ y: ids, value: 2 ** 29 });
// A table of 2^30 rows, says the call: the row is far outside of it.
kernels.embedding_forward({ ids, table, y, n: 1, rows: 2 ** 30, features: 4 });
try {
  zeros([40_000_000], on);
  console.log('no error');
} catch (error) {
  const { name, code, message } = error as Error & { code: string };
  console.log(JSON.stringify({ name, code, message }));
}
