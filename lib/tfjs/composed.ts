/**
 * The same functions in tfjs's own ops: slow, but differentiable as often as wanted. Gradients of gradients go through
 * them, and the tests compare the kernels with them.
 */
import type { KernelAttributes, LayerAttributes } from './attributes';
import { type LayerOperands, layerOperands, type Named, operand } from './operands';
import type { Tensor, Tensor2D, Tensor3D, Tfjs } from './tfjs';

const as2D = (tf: Tfjs, t: Tensor): Tensor2D => tf.reshape(t, [t.shape[0]!, t.shape[1]!]);
const as3D = (tf: Tfjs, t: Tensor): Tensor3D => tf.reshape(t, [t.shape[0]!, t.shape[1]!, t.shape[2]!]);
const times = (tf: Tfjs, x: Tensor2D, w: Tensor): Tensor2D => tf.matMul(x, as2D(tf, w), false, true);

/** Block-diagonal product: [n, K·p] with v [K, q, p] → [n, K·q]. */
function firstFactor(tf: Tfjs, x: Tensor2D, v: Tensor): Tensor2D {
  if (v.rank === 2) return times(tf, x, v);
  const blocks = tf.transpose(tf.reshape(x, [-1, v.shape[0]!, v.shape[2]!]), [1, 0, 2]);
  const products: Tensor3D = tf.matMul(as3D(tf, blocks), as3D(tf, v), false, true);
  return tf.reshape(tf.transpose(products, [1, 0, 2]), [-1, v.shape[0]! * v.shape[1]!]);
}

/** Shuffle, block-diagonal product, shuffle: [n, L·r] with u [L, s, r] → [n, L·s]. */
function secondFactor(tf: Tfjs, h: Tensor2D, u: Tensor): Tensor2D {
  if (u.rank === 2) return times(tf, h, u);
  const shuffled = tf.transpose(tf.reshape(h, [-1, u.shape[2]!, u.shape[0]!]), [2, 0, 1]);
  const products: Tensor3D = tf.matMul(as3D(tf, shuffled), as3D(tf, u), false, true);
  return tf.reshape(tf.transpose(products, [1, 2, 0]), [-1, u.shape[0]! * u.shape[1]!]);
}

function layer(
  tf: Tfjs,
  x: Tensor2D,
  { v, u, bias, guide }: LayerOperands<Tensor>,
  { alpha, innerActivation }: LayerAttributes,
): Tensor2D {
  const hidden = v === null ? x : ACTIVATIONS[innerActivation](tf, firstFactor(tf, x, v));
  const structured = secondFactor(tf, hidden, u);
  const mixed: Tensor2D =
    guide === null ? structured : tf.add(tf.mul(structured, 1 - alpha), tf.mul(times(tf, x, guide), alpha));
  return bias === null ? mixed : tf.add(mixed, bias);
}

/** 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))). */
function gelu(tf: Tfjs, x: Tensor2D): Tensor2D {
  const cube: Tensor2D = tf.mul(tf.mul(x, x), x);
  const inner: Tensor2D = tf.mul(tf.add(x, tf.mul(cube, 0.044715)), 0.7978845608);
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}

const ACTIVATIONS: Readonly<Record<KernelAttributes['activation'], (tf: Tfjs, x: Tensor2D) => Tensor2D>> = {
  none: (_, x) => x,
  relu: (tf, x) => tf.relu(x),
  silu: (tf, x) => tf.mul(x, tf.sigmoid(x)),
  gelu,
  swiglu: (tf, x) => {
    const half = x.shape[1] / 2;
    const gate = tf.slice(x, [0, 0], [-1, half]);
    return tf.mul(tf.mul(gate, tf.sigmoid(gate)), tf.slice(x, [0, half], [-1, half]));
  },
};

/** What the kernel of these operands computes. */
export function composed(tf: Tfjs, operands: Named<Tensor>, { activation, layers }: KernelAttributes): Tensor {
  const x = operand(operands, 'x');
  const rows: Tensor2D = tf.reshape(x, [-1, x.shape[x.rank - 1]!]);
  const act = ACTIVATIONS[activation];
  const y = operands.has('u')
    ? act(tf, layer(tf, rows, layerOperands(operands), layers[0]))
    : layer(
        tf,
        act(tf, layer(tf, rows, layerOperands(operands, '1'), layers[0])),
        layerOperands(operands, '2'),
        layers[1],
      );
  return tf.reshape(y, [...x.shape.slice(0, -1), y.shape[1]]);
}
