/** Softmax cross-entropy, for given logits and fused with the projection that makes them. */
import { needsGrad, record } from '../autograd';
import { checkInteger, formatShape, OptionError, runNative, ShapeError } from '../errors';
import { kernels } from '../kernels';
import { checkKeys } from '../options';
import { empty, type Tensor } from '../tensor';
import { checkSameDevice, checkSameKind, checkSameShape, checkTensor, emptyLike, gradientsFor, rowsOf } from './check';

/** Options of `crossEntropy` and `linearCrossEntropy`. */
export interface CrossEntropyOptions {
  /** Targets of this value count neither in the loss nor in its gradient. Default: -100. */
  ignoreIndex?: number;
  /**
   * Lets backward write the gradient over the logits, so that there is never a second tensor of their size. The logits
   * are unusable afterwards. Default: false.
   */
  inPlace?: boolean;
}

/**
 * Mean over the rows of −log softmax(logits)[target]; logits [..., classes], targets [...] int32 → [].
 * @throws {SffnError} ERR_RANGE for a target that is neither a class nor ignoreIndex.
 */
export function crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions = {}): Tensor {
  checkKeys('crossEntropy', options, { ignoreIndex: 0, inPlace: 0 });
  const { ignoreIndex: ignore_index = -100, inPlace = false } = options;
  checkTensor('crossEntropy: logits', logits);
  const classes = logits.shape[logits.rank - 1] ?? 0;
  const n = rowsOf('crossEntropy: logits', logits, classes);
  checkTargets('crossEntropy', targets, n, ignore_index);
  const device = checkSameDevice('crossEntropy', logits, targets);
  const loss = empty([], 'float32', device);
  const lse = empty([n], 'float32', device);
  const count = empty([1], 'float32', device);
  runNative(() => kernels.cross_entropy_forward({ logits, targets, loss, lse, count, n, classes, ignore_index }));
  if (!needsGrad(logits)) for (const saved of [lse, count]) saved.dispose();

  const backward = (dloss: Tensor) => {
    const dlogits = inPlace ? logits.view() : emptyLike(logits);
    kernels.cross_entropy_backward({ dloss, logits, targets, lse, count, dlogits, n, classes, ignore_index });
    if (inPlace) logits.storage.changed();
    for (const saved of [lse, count]) saved.dispose();
    return [dlogits];
  };
  return record(loss, [logits], backward, [logits, targets]);
}

/**
 * crossEntropy(x weightᵀ, targets) that never holds all logits: they are computed, used and dropped in chunks of rows,
 * and the gradients are computed along the way. x [..., features], weight [classes, features], targets [...] int32 →
 * [].
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: { ignoreIndex?: number } = {},
): Tensor {
  checkKeys('linearCrossEntropy', options, { ignoreIndex: 0 });
  const { ignoreIndex = -100 } = options;
  checkTensor('linearCrossEntropy: x', x);
  checkTensor('linearCrossEntropy: weight', weight);
  checkSameShape('linearCrossEntropy: weight', weight, [-1, x.shape[x.rank - 1] ?? 0]);
  const [classes, features] = weight.shape as [number, number];
  if (classes === 0)
    throw new ShapeError('linearCrossEntropy: weight', 'at least one class', formatShape(weight.shape));
  const n = rowsOf('linearCrossEntropy: x', x, features);
  checkTargets('linearCrossEntropy', targets, n, ignoreIndex);
  checkSameKind('linearCrossEntropy', x, weight);
  const loss = empty([], 'float32', checkSameDevice('linearCrossEntropy', x, targets));
  const saving = needsGrad(x, weight);
  const [dx, dweight] = saving ? gradientsFor(x, weight) : [null, null];
  runNative(() =>
    kernels.linear_cross_entropy({
      x,
      weight,
      targets,
      loss,
      dx,
      dweight,
      n,
      features,
      classes,
      ignore_index: ignoreIndex,
    }),
  );

  return record(loss, [x, weight], (dloss) => {
    for (const t of [dx, dweight]) if (t) kernels.scale_by({ x: t, factor: dloss });
    return [dx, dweight];
  });
}

function checkTargets(where: string, targets: Tensor, n: number, ignoreIndex: number): void {
  checkTensor(`${where}: targets`, targets, 'int32');
  if (targets.size !== n)
    throw new ShapeError(`${where}: targets`, `${n} of them, one for each row`, formatShape(targets.shape));
  checkInteger(`${where}: ignoreIndex`, ignoreIndex, Number.MIN_SAFE_INTEGER);
  if (Math.abs(ignoreIndex) > 2 ** 31 - 1)
    throw new OptionError(`${where}: ignoreIndex`, 'a 32-bit number', ignoreIndex);
}
