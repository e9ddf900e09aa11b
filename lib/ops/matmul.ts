/** Matrix products of general tensors. Layers use ops/linear.ts, which packs weights better. */
import { record } from '../autograd';
import { formatShape, runNative, ShapeError } from '../errors';
import { kernels } from '../kernels';
import { native } from '../native';
import { checkKeys } from '../options';
import { numel, type Tensor } from '../tensor';
import { int32Strides } from './broadcast';
import { checkSameKind, checkTensor, emptyAs, emptyLike } from './check';

/** Options of `matmul`. */
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
  runNative(() => product(a, transposeA, b, transposeB, y, { batch, m, n, k, strides }));

  const sizes = { batch, m, n, k, one, transposeA, transposeB };
  const backward = (dy: Tensor) => [
    a.requiresGrad ? gradientOfA(dy, b, a, sizes) : null,
    b.requiresGrad ? gradientOfB(dy, a, b, sizes) : null,
  ];
  return record(y, [a, b], backward, [b.requiresGrad ? a : null, a.requiresGrad ? b : null]);
}

/** c = op(a) · op(b), [m, k] times [k, n], for each of the batch. */
function product(
  a: Tensor,
  transposeA: boolean,
  b: Tensor,
  transposeB: boolean,
  c: Tensor,
  { batch, m, n, k, strides }: Readonly<Record<'batch' | 'm' | 'n' | 'k', number>> & { readonly strides: Int32Array },
): void {
  const [transpose_a, transpose_b] = [Number(transposeA), Number(transposeB)];
  kernels.matmul({ a, b, c, batch, m, n, k, transpose_a, transpose_b, strides, accumulate: 0 });
}

/** The steps from one matrix of the batch to the next, for both operands. @throws {ShapeError} */
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
  const [ofDy, ofB] = [m * n, one ? 0 : k * n];
  if (transposeA) product(b, transposeB, dy, true, da, { batch, m: k, n: m, k: n, strides: stepsOf(batch, ofB, ofDy) });
  else product(dy, false, b, !transposeB, da, { batch, m, n: k, k: n, strides: stepsOf(batch, ofDy, ofB) });
  return da;
}

/** db = aᵀ dy, or its transpose dyᵀ a; summed over the batch if b is one matrix. */
function gradientOfB(dy: Tensor, a: Tensor, b: Tensor, { batch, m, n, k, one, transposeA, transposeB }: Sizes): Tensor {
  const db = emptyLike(b);
  // Unless a is transposed, a batch with a single b is just more rows: one product sums it.
  const whole = one && !transposeA;
  const [count, rows] = whole ? [1, batch * m] : [batch, m];
  const [ofDy, ofA] = [rows * n, rows * k];
  const each = one && !whole ? emptyAs([batch, ...b.shape], b) : db;
  if (transposeB)
    product(dy, true, a, transposeA, each, { batch: count, m: n, n: k, k: rows, strides: stepsOf(count, ofDy, ofA) });
  else product(a, !transposeA, dy, false, each, { batch: count, m: k, n, k: rows, strides: stepsOf(count, ofA, ofDy) });
  if (each === db) return db;
  kernels.reduce({ x: each, y: db, op: native.reductions.sum, outer: 1, extent: batch, inner: b.size });
  each.dispose();
  return db;
}
