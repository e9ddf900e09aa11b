/** Element by element: functions of one tensor, and arithmetic of two with broadcasting. */
import { noGrad, record } from '../autograd';
import { zeros } from '../creation';
import { checkNumber, runNative } from '../errors';
import { kernels } from '../kernels';
import { native } from '../native';
import type { Shape, Tensor } from '../tensor';
import { broadcastShape, broadcastStrides, int32Sizes, int32Strides } from './broadcast';
import { checkSameKind, checkTensor, emptyAs, emptyLike } from './check';
import { reduceTo } from './reduce';

/** Those whose gradient depends on no values. */
const LINEAR: ReadonlySet<string> = new Set(['neg', 'scale', 'addScalar']);

function unary(name: keyof typeof native.unaryOps, a: Tensor, c = 0): Tensor {
  checkTensor(`${name}: a`, a);
  checkNumber(`${name}: operand`, c);
  const op = native.unaryOps[name];
  const y = emptyLike(a);
  runNative(() => kernels.unary({ a, y, op, c }));
  const backward = (dy: Tensor) => {
    const da = emptyLike(a);
    if (name === 'pow' && c === 0) kernels.fill({ y: da, value: 0 });
    else kernels.unary_backward({ dy, a, y, da, op, c });
    return [da];
  };
  return record(y, [a], backward, LINEAR.has(name) ? [] : [a, y]);
}

/** −a. */
export const neg = (a: Tensor): Tensor => unary('neg', a);
/** eᵃ. */
export const exp = (a: Tensor): Tensor => unary('exp', a);
/** Natural logarithm. */
export const log = (a: Tensor): Tensor => unary('log', a);
/** √a. */
export const sqrt = (a: Tensor): Tensor => unary('sqrt', a);
/** 1 / √a. */
export const rsqrt = (a: Tensor): Tensor => unary('rsqrt', a);
/** Hyperbolic tangent. */
export const tanh = (a: Tensor): Tensor => unary('tanh', a);
/** 1 / (1 + e⁻ᵃ). */
export const sigmoid = (a: Tensor): Tensor => unary('sigmoid', a);
/** 0.5·a·(1 + tanh(√(2/π)·(a + 0.044715·a³))), the tanh form (Hendrycks and Gimpel 2016). */
export const gelu = (a: Tensor): Tensor => unary('gelu', a);
/** a · sigmoid(a). */
export const silu = (a: Tensor): Tensor => unary('silu', a);
/** max(a, 0). */
export const relu = (a: Tensor): Tensor => unary('relu', a);
/** a². */
export const square = (a: Tensor): Tensor => unary('square', a);
/** |a|. */
export const abs = (a: Tensor): Tensor => unary('abs', a);
/** Sine of a, in radians. */
export const sin = (a: Tensor): Tensor => unary('sin', a);
/** Cosine of a, in radians. */
export const cos = (a: Tensor): Tensor => unary('cos', a);
/** 1 / a. */
export const reciprocal = (a: Tensor): Tensor => unary('reciprocal', a);
/** a · factor. */
export const scale = (a: Tensor, factor: number): Tensor => unary('scale', a, factor);
/** a + term. */
export const addScalar = (a: Tensor, term: number): Tensor => unary('addScalar', a, term);
/** a ** exponent. */
export const powScalar = (a: Tensor, exponent: number): Tensor => unary('pow', a, exponent);
/** max(a, bound). */
export const clampMin = (a: Tensor, bound: number): Tensor => unary('clampMin', a, bound);
/** min(a, bound). */
export const clampMax = (a: Tensor, bound: number): Tensor => unary('clampMax', a, bound);

/** What the gradients read, where it is less than both operands. */
const READS: { readonly [Name in BinaryName]?: (a: Tensor, b: Tensor) => readonly (Tensor | null)[] } = {
  add: () => [],
  sub: () => [],
  mul: (a, b) => [b.requiresGrad ? a : null, a.requiresGrad ? b : null],
  div: (a, b) => [b.requiresGrad ? a : null, b],
};

type BinaryName = keyof typeof native.binaryOps;
/** dy and the operands → the gradient for one operand, before it is summed back to the operand's shape. */
type BinaryGradient = (dy: Tensor, a: Tensor, b: Tensor) => Tensor;

function broadcastBinary(name: BinaryName, a: Tensor, b: Tensor): Tensor {
  const shape: Shape = broadcastShape(name, a.shape, b.shape);
  checkSameKind(name, a, b);
  const dims = int32Sizes(name, shape);
  const stridesOf = (x: Tensor) => int32Strides(name, shape, broadcastStrides(x.shape, shape));
  const a_strides = stridesOf(a);
  const b_strides = shape === b.shape ? a_strides : stridesOf(b);
  const y = shape === a.shape ? emptyLike(a) : emptyAs(shape, a);
  runNative(() => kernels.binary({ a, b, y, op: native.binaryOps[name], dims, a_strides, b_strides }));
  return y;
}

function binary(name: BinaryName, a: Tensor, b: Tensor, gradients?: readonly [BinaryGradient, BinaryGradient]): Tensor {
  checkTensor(`${name}: a`, a);
  checkTensor(`${name}: b`, b);
  const y = broadcastBinary(name, a, b);
  if (!gradients) return y;
  const backward = (dy: Tensor) =>
    [a, b].map((operand, i) => (operand.requiresGrad ? reduceTo(gradients[i]!(dy, a, b), operand.shape) : null));
  return record(y, [a, b], backward, READS[name]?.(a, b) ?? [a, b]);
}

/** a + b, broadcast. */
export const add = (a: Tensor, b: Tensor): Tensor => binary('add', a, b, [(dy) => dy, (dy) => dy]);
/** a − b, broadcast. */
export const sub = (a: Tensor, b: Tensor): Tensor => binary('sub', a, b, [(dy) => dy, (dy) => neg(dy)]);
/** a · b, broadcast. */
export const mul = (a: Tensor, b: Tensor): Tensor =>
  binary('mul', a, b, [(dy, _, y) => mul(dy, y), (dy, x) => mul(dy, x)]);
/** a / b, broadcast. */
export const div = (a: Tensor, b: Tensor): Tensor =>
  binary('div', a, b, [(dy, _, y) => div(dy, y), (dy, x, y) => neg(div(mul(dy, x), square(y)))]);
/** a ** b, broadcast; the gradient for b needs a >= 0. */
export const pow = (a: Tensor, b: Tensor): Tensor =>
  binary('pow', a, b, [
    (dy, x, y) => mul(dy, mul(y, pow(x, add(addScalar(y, -1), isZero(y))))), // where y is 0: 0 · x⁰, not 0 · x⁻¹
    (dy, x, y) => mul(dy, mul(pow(x, y), log(add(x, isZero(x))))), // where x is 0: 0ʸ does not change with y
  ]);
/** The larger, broadcast; if they are equal the gradient goes to a. */
export const maximum = (a: Tensor, b: Tensor): Tensor =>
  binary('maximum', a, b, [(dy, x, y) => mul(dy, notGreater(y, x)), (dy, x, y) => mul(dy, greater(y, x))]);
/** The smaller, broadcast; if they are equal the gradient goes to a. */
export const minimum = (a: Tensor, b: Tensor): Tensor =>
  binary('minimum', a, b, [(dy, x, y) => mul(dy, notGreater(x, y)), (dy, x, y) => mul(dy, greater(x, y))]);
/** 1 where a > b, else 0; broadcast, no gradient. */
export const greater = (a: Tensor, b: Tensor): Tensor => binary('greater', a, b);
/** 1 where a = b, else 0; broadcast, no gradient. */
export const equal = (a: Tensor, b: Tensor): Tensor => binary('equal', a, b);

const isZero = (a: Tensor): Tensor => equal(a, zeros([1], { dtype: a.dtype, device: a.device }));

const notGreater = (a: Tensor, b: Tensor): Tensor => noGrad(() => addScalar(neg(greater(a, b)), 1));
