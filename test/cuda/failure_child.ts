/** What process.test.ts runs in a process of its own: the device is of no use afterwards. */
import { zeros } from '../../lib';
import { native } from '../../lib/native';

const on = { device: 'cuda' } as const;
const ids = zeros([1], { ...on, dtype: 'int32' });
const [table, y] = [zeros([4, 4], on), zeros([1, 4], on)];
native.fill(ids.handle, 2 ** 29);
// A table of 2^30 rows, says the call: the row is far outside of it.
native.embedding_forward(ids.handle, table.handle, y.handle, 1, 2 ** 30, 4);
try {
  zeros([40_000_000], on);
  console.log('no error');
} catch (error) {
  const { name, code, message } = error as Error & { code: string };
  console.log(JSON.stringify({ name, code, message }));
}
