/** Softmax over the last dimension. */
import { record } from '../autograd';
import { runNative } from '../errors';
import { kernels } from '../kernels';
import type { Tensor } from '../tensor';
import { checkTensor, emptyLike, rowsOf } from './check';

function apply(name: string, x: Tensor, log: number): Tensor {
  checkTensor(`${name}: x`, x);
  const features = x.shape[x.rank - 1] ?? 0;
  const n = rowsOf(`${name}: x`, x, features);
  const y = emptyLike(x);
  // Rows of no features are as good as none, however many there are.
  if (x.size > 0) runNative(() => kernels.softmax_forward({ x, y, n, features, log }));
  const backward = (dy: Tensor) => {
    const dx = emptyLike(x);
    if (x.size > 0) kernels.softmax_backward({ dy, y, dx, n, features, log });
    return [dx];
  };
  return record(y, [x], backward, [y]);
}

/** exp(x) / Σ exp(x), stable for large values. */
export const softmax = (x: Tensor): Tensor => apply('softmax', x, 0);

/** log softmax(x), without taking the logarithm of a rounded softmax. */
export const logSoftmax = (x: Tensor): Tensor => apply('logSoftmax', x, 1);
