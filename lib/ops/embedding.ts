/** Rows of a table by id. */
import { record } from '../autograd';
import { runNative } from '../errors';
import { native } from '../native';
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
  const sizes = [ids.size, rows, features] as const;
  runNative(() => native.embedding_forward(ids.handle, table.handle, y.handle, ...sizes));

  return record(y, [table], (dy) => {
    const dtable = emptyLike(table);
    native.embedding_backward(dy.handle, ids.handle, dtable.handle, ...sizes);
    return [dtable];
  });
}
