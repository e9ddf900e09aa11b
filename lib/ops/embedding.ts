/** Rows of a table by id. */
import { record } from '../autograd';
import { runNative } from '../errors';
import { kernels } from '../kernels';
import type { Tensor } from '../tensor';
import { checkSameDevice, checkSameShape, checkTensor, emptyAs, emptyLike } from './check';

/**
 * table[ids]; ids [...] int32, table [rows, features] → [..., features]. In backward the rows are added in order, so that
 * the result does not depend on the threads. @throws {SffnError} ERR_RANGE for an id outside the table.
 */
export function embedding(ids: Tensor, table: Tensor): Tensor {
  checkTensor('embedding: ids', ids, 'int32');
  checkTensor('embedding: table', table);
  checkSameShape('embedding: table', table, [-1, -1]);
  const [rows, features] = table.shape as [number, number];
  checkSameDevice('embedding', ids, table);
  const y = emptyAs([...ids.shape, features], table);
  runNative(() => kernels.embedding_forward({ ids, table, y, n: ids.size, rows, features }));

  const backward = (dy: Tensor) => {
    const dtable = emptyLike(table);
    kernels.embedding_backward({ dy, ids, dtable, n: ids.size, rows, features });
    return [dtable];
  };
  return record(y, [table], backward, [ids]);
}
