/** Matrix products of general tensors; layers use ops/linear.ts, which packs weights better. */
import { record } from '../autograd';
import { formatShape, runNative, ShapeError } from '../errors';
import { native } from '../native';
import { checkKeys } from '../options';
import { numel, type Tensor } from '../tensor';
import { int32Strides } from './broadcast';
import { checkSameKind, checkTensor, emptyAs, emptyLike } from './check';

export interface MatmulOptions {
  /** a is [..., k, m]. Default: false. */
  transposeA?: boolean;
  /** b is [..., n, k]. Default: false. */
  transposeB?: boolean;
}

/**
 * a [..., m, k] times b [..., k, n] → [..., m, n]. The leading dimensions must agree, or b has none: then it is one
 * matrix for all of a.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  checkKeys('matmul', options, { transposeA: 0, transposeB: 0 });
  const { transposeA = false, transposeB = false } = options;
  checkTensor('matmul: a', a);
  checkTensor('matmul: b', b);
  if (a.rank < 2 || b.rank < 2)
    throw new ShapeError('matmul', 'matrices', `${formatShape(a.shape)} and ${formatShape(b.shape)}`);
  const leading = a.shape.slice(0, -2);
  const batch = numel(leading);
  const [a0, a1] = a.shape.slice(-2) as [number, number];
  const [b0, b1] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [a1, a0] : [a0, a1];
  const [kb, n] = transposeB ? [b1, b0] : [b0, b1];
  const one = b.rank === 2;
  if (k !== kb || !(one || formatShape(b.shape.slice(0, -2)) === formatShape(leading)))
    throw new ShapeError('matmul', `b to fit a of ${formatShape(a.shape)}`, formatShape(b.shape));
  checkSameKind('matmul', a, b);
  const strides = stepsOf(batch, m * k, one ? 0 : k * n);
  const y = emptyAs([...leading, m, n], a);
  const flags = [Number(transposeA), Number(transposeB)] as const;
  runNative(() => native.matmul(a.handle, b.handle, y.handle, batch, m, n, k, ...flags, strides, 0));

  return record(y, [a, b], (dy) => [
    a.requiresGrad ? gradientOfA(dy, b, a, { batch, m, n, k, one, transposeA, transposeB }) : null,
    b.requiresGrad ? gradientOfB(dy, a, b, { batch, m, n, k, one, transposeA, transposeB }) : null,
  ]);
}

/** From one matrix of the batch to the next, of both operands. @throws {ShapeError} */
const stepsOf = (batch: number, a: number, b: number): Int32Array => int32Strides('matmul', [batch, batch], [a, b]);

interface Sizes extends Required<MatmulOptions> {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** One b for the whole batch. */
  readonly one: boolean;
}

/** da = dy bᵀ, or its transpose b dyᵀ where a is stored transposed. */
function gradientOfA(dy: Tensor, b: Tensor, a: Tensor, { batch, m, n, k, one, transposeA, transposeB }: Sizes): Tensor {
  const da = emptyLike(a);
  const bStride = one ? 0 : k * n;
  if (transposeA)
    native.matmul(
      b.handle,
      dy.handle,
      da.handle,
      batch,
      k,
      m,
      n,
      Number(transposeB),
      1,
      stepsOf(batch, bStride, m * n),
      0,
    );
  else
    native.matmul(
      dy.handle,
      b.handle,
      da.handle,
      batch,
      m,
      k,
      n,
      0,
      Number(!transposeB),
      stepsOf(batch, m * n, bStride),
      0,
    );
  return da;
}

/** db = aᵀ dy, or its transpose dyᵀ a; summed over the batch where b is one matrix. */
function gradientOfB(dy: Tensor, a: Tensor, b: Tensor, { batch, m, n, k, one, transposeA, transposeB }: Sizes): Tensor {
  const db = emptyLike(b);
  // With rows as they are, the batch of a single b is just more rows: one product sums it.
  const whole = one && !transposeA;
  const [count, rows] = whole ? [1, batch * m] : [batch, m];
  const product = (target: Tensor) => {
    if (transposeB)
      native.matmul(
        dy.handle,
        a.handle,
        target.handle,
        count,
        n,
        k,
        rows,
        1,
        Number(transposeA),
        stepsOf(count, rows * n, rows * k),
        0,
      );
    else
      native.matmul(
        a.handle,
        dy.handle,
        target.handle,
        count,
        k,
        n,
        rows,
        Number(!transposeA),
        0,
        stepsOf(count, rows * k, rows * n),
        0,
      );
  };
  if (!one || whole) {
    product(db);
    return db;
  }
  const each = emptyAs([batch, ...b.shape], b);
  product(each);
  native.reduce(each.handle, db.handle, 0, 1, batch, b.size);
  each.dispose();
  return db;
}
