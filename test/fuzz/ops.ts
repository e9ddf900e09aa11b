/** Calls of every op with operands that fit, and the definition in float64 of what comes out. */

import type { Tensor } from '../../lib';
import * as lib from '../../lib';
import type { Nd } from '../support/check_op';
import {
  along,
  attention,
  BINARY,
  broadcast,
  gather,
  layerNormOf,
  logitsOf,
  meanLoss,
  permuted,
  product,
  rmsNormOf,
  rows,
  sliced,
  softmaxOf,
  total,
  UNARY,
  UNARY_POSITIVE,
} from '../support/definitions';
import { activate, blocks, dense, plus, plusBias, structured } from '../support/linear';
import { smallShapes } from '../support/structures';
import type { Draw } from './draw';

/** What an operand holds: numbers of -1 .. 1, of 1/16 .. 2, or ids below a bound. */
export type Kind = 'real' | 'positive' | { readonly below: number };

export interface Operand {
  readonly shape: readonly number[];
  readonly kind: Kind;
}

/** Operands that fit each other, what is called with them, and what must come out. */
export interface Honest {
  readonly operands: readonly Operand[];
  readonly call: (...operands: Tensor[]) => Tensor;
  /** None: then only that it is a value or an error of ours. */
  readonly reference?: (...operands: Nd[]) => Float64Array;
  /** Whether its gradient is that of the reference everywhere. */
  readonly smooth?: boolean;
}

const real = (...shape: number[]): Operand => ({ shape, kind: 'real' });
const positive = (...shape: number[]): Operand => ({ shape, kind: 'positive' });
const ids = (below: number, ...shape: number[]): Operand => ({ shape, kind: { below } });

/** Ops whose slope jumps; operands of 0 and equal ones are common here. */
const KINKED: readonly string[] = ['relu', 'abs', 'maximum', 'minimum'];

type Maker = (d: Draw) => Honest;
type UnaryOp = (a: Tensor) => Tensor;
type BinaryOp = (a: Tensor, b: Tensor) => Tensor;

const opNamed = (name: string): unknown => (lib as unknown as Record<string, unknown>)[name];

const unary = (name: string, f: (a: number) => number, operand: typeof real): [string, Maker] => [
  name,
  (d) => ({
    operands: [operand(...d.shape())],
    call: opNamed(name) as UnaryOp,
    reference: (a) => a.data.map(f),
    smooth: !KINKED.includes(name),
  }),
];

const withNumber = (
  name: string,
  op: (a: Tensor, c: number) => Tensor,
  f: (a: number, c: number) => number,
  numbers: readonly number[],
  smooth = true,
): [string, Maker] => [
  name,
  (d) => {
    const c = d.pick(numbers);
    return {
      operands: [positive(...d.shape())],
      call: (a) => op(a, c),
      reference: (a) => a.data.map((x) => f(x, c)),
      smooth,
    };
  },
];

/** Two shapes that broadcast with each other. */
function broadcastable(d: Draw): [number[], number[]] {
  const shape = d.shape(0, 3);
  const narrowed = () => shape.map((size) => (d.once(4) ? 1 : size)).slice(d.once(4) ? 1 : 0);
  return [narrowed(), narrowed()];
}

const binary = (name: string, f: (a: number, b: number) => number, smooth: boolean): [string, Maker] => [
  name,
  (d) => {
    const [a, b] = broadcastable(d);
    return {
      operands: [positive(...a), positive(...b)],
      call: opNamed(name) as BinaryOp,
      reference: broadcast(f),
      smooth,
    };
  },
];

const reduction = (
  name: string,
  op: (x: Tensor, options: lib.ReduceOptions) => Tensor,
  f: (values: number[]) => number,
  smooth: boolean,
): [string, Maker] => [
  name,
  (d) => {
    const shape = d.shape(1, 3);
    const keepDim = d.once(2);
    if (d.once(4))
      return {
        operands: [real(...shape)],
        call: (x) => op(x, { keepDim }),
        reference: (x) => Float64Array.of(f([...x.data])),
        smooth,
      };
    const dim = d.int(0, shape.length - 1);
    return {
      operands: [real(...shape)],
      call: (x) => op(x, { dim: d.once(2) ? dim - shape.length : dim, keepDim }),
      reference: along(f, dim),
      smooth,
    };
  },
];

const ACTIVATIONS = ['none', 'gelu', 'silu', 'relu', 'swiglu'] as const;
const INNER = ['none', 'gelu', 'silu', 'relu'] as const;

/** A linear layer of a structure, with everything that may stand beside it. */
function layer(
  d: Draw,
  structure: 'dense' | 'lowrank' | 'blockdense' | 'blockshuffle' | 'btt',
  call: (
    x: Tensor,
    weights: { v?: Tensor; u: Tensor; bias?: Tensor; guide?: lib.Guide; innerActivation?: (typeof INNER)[number] },
    options: lib.LinearOptions,
  ) => Tensor,
  guides = false,
): Honest {
  const [inFeatures, outFeatures] = [6 * d.int(1, 3), 6 * d.int(1, 3)];
  const { v, u } = smallShapes(structure, inFeatures, outFeatures);
  const n = d.int(0, 20);
  const activation = d.pick(ACTIVATIONS);
  const innerActivation = v === null ? 'none' : d.pick(INNER);
  const features = activation === 'swiglu' ? outFeatures / 2 : outFeatures;
  const [biased, added, guided] = [d.once(2), d.once(3), guides && d.once(3)];
  const [guideScale, factorScale] = [0.25, 0.75];
  const operands = [
    real(n, inFeatures),
    real(...u),
    ...(v ? [real(...v)] : []),
    ...(biased ? [real(outFeatures)] : []),
    ...(added ? [real(n, features)] : []),
    ...(guided ? [real(outFeatures, inFeatures)] : []),
  ];
  const parts = <T>(all: readonly T[]) => {
    const rest = all.slice(2);
    return {
      x: all[0]!,
      u: all[1]!,
      v: v ? rest.shift() : undefined,
      bias: biased ? rest.shift() : undefined,
      residual: added ? rest.shift() : undefined,
      guide: guided ? rest.shift() : undefined,
    };
  };
  return {
    operands,
    call: (...all) => {
      const { x, u, v, bias, residual, guide } = parts(all);
      const weights = { v, u, bias, innerActivation };
      return call(x, guide ? { ...weights, guide: { weight: guide, guideScale, factorScale } } : weights, {
        activation,
        residual,
      });
    },
    reference: (...all) => {
      const { x, u, v, bias, residual, guide } = parts(all);
      let y = v ? structured(x, blocks(v), blocks(u), innerActivation) : dense(x, u);
      if (guide) {
        const other = dense(x, guide).data;
        y = { shape: y.shape, data: y.data.map((a, i) => factorScale * a + guideScale * other[i]!) };
      }
      const z = activate(plusBias(y, bias), activation);
      return (residual ? plus(z, residual) : z).data;
    },
    smooth: activation !== 'relu' && innerActivation !== 'relu',
  };
}

const withoutGuide = (name: string, structure: 'lowrank' | 'blockdense' | 'blockshuffle'): [string, Maker] => [
  name,
  (d) =>
    layer(d, structure, (x, { v, u, bias, innerActivation }, options) =>
      (opNamed(name) as typeof lib.lowRankLinear)(x, v!, u, bias, { ...options, innerActivation }),
    ),
];

export const OPS: Readonly<Record<string, Maker>> = Object.fromEntries<Maker>([
  ...Object.entries(UNARY).map(([name, f]) => unary(name, f, real)),
  ...Object.entries(UNARY_POSITIVE).map(([name, f]) => unary(name, f, positive)),
  withNumber('scale', lib.scale, (a, c) => a * c, [3, -0.5, 0, 1e-3]),
  withNumber('addScalar', lib.addScalar, (a, c) => a + c, [3, -0.5, 0]),
  withNumber('powScalar', lib.powScalar, (a, c) => a ** c, [2, 1.5, 0, -1, 1]),
  withNumber('clampMin', lib.clampMin, Math.max, [0.5, 0, 3], false),
  withNumber('clampMax', lib.clampMax, Math.min, [0.5, 0, 3], false),
  ...Object.entries(BINARY).map(([name, f]) => binary(name, f, !KINKED.includes(name))),
  binary('greater', (a, b) => Number(a > b), false),
  binary('equal', (a, b) => Number(a === b), false),
  reduction('sum', lib.sum, total, true),
  reduction('mean', lib.mean, (values) => total(values) / values.length, true),
  reduction('max', lib.max, (values) => Math.max(...values), false),
  [
    'argmax',
    (d) => {
      const shape = d.shape(1, 3);
      const dim = d.int(0, shape.length - 1);
      return {
        operands: [real(...shape)],
        call: (x) => lib.argmax(x, dim),
        reference: along((values) => values.indexOf(Math.max(...values)), dim),
      };
    },
  ],
  [
    'softmax',
    (d) => ({
      operands: [real(...d.shape(1, 3))],
      call: lib.softmax,
      reference: (x) => rows(x, softmaxOf),
      smooth: true,
    }),
  ],
  [
    'logSoftmax',
    (d) => ({
      operands: [real(...d.shape(1, 3))],
      call: lib.logSoftmax,
      reference: (x) => rows(x, (row) => softmaxOf(row).map(Math.log)),
      smooth: true,
    }),
  ],
  [
    'reshape',
    (d) => {
      const shape = d.shape(1, 3);
      const size = total([...shape.slice(1)].length > 0 ? [shape.reduce((n, s) => n * s, 1)] : [shape[0]!]);
      const to = d.pick([[size], [-1], [1, size], [size, 1], [...shape].reverse()]);
      return {
        operands: [real(...shape)],
        call: (x) => lib.reshape(x, to),
        reference: (x) => x.data.slice(),
        smooth: true,
      };
    },
  ],
  [
    'permute',
    (d) => {
      const shape = d.shape(1, 4);
      const left = shape.map((_, i) => i);
      const order = shape.map(() => left.splice(d.int(0, left.length - 1), 1)[0]!);
      return {
        operands: [real(...shape)],
        call: (x) => lib.permute(x, order),
        reference: (x) => permuted(x, order),
        smooth: true,
      };
    },
  ],
  [
    'transpose',
    (d) => {
      const shape = d.shape(2, 3);
      const order = shape.map((_, i) => i);
      order.push(...order.splice(-2).reverse());
      return {
        operands: [real(...shape)],
        call: (x) => lib.transpose(x),
        reference: (x) => permuted(x, order),
        smooth: true,
      };
    },
  ],
  [
    'slice',
    (d) => {
      const shape = d.shape(1, 3);
      const dim = d.int(0, shape.length - 1);
      const end = d.int(0, shape[dim]!);
      const start = d.int(0, end);
      return {
        operands: [real(...shape)],
        call: (x) => lib.slice(x, dim, start, end),
        reference: (x) => sliced(x, dim, start, end),
        smooth: true,
      };
    },
  ],
  [
    'concat',
    (d) => {
      const [n, a, b] = [d.size(), d.size(), d.size()];
      return {
        operands: [real(n, a), real(n, b)],
        call: (x, y) => lib.concat([x, y], 1),
        reference: (x, y) =>
          Float64Array.from({ length: n * (a + b) }, (_, i) => {
            const [row, column] = [Math.floor(i / (a + b)), i % (a + b)];
            return column < a ? x.data[row * a + column]! : y.data[row * b + column - a]!;
          }),
        smooth: true,
      };
    },
  ],
  [
    'broadcastTo',
    (d) => {
      const shape = d.shape(1, 3);
      const from = shape.map((size) => (d.once(2) ? 1 : size));
      return {
        operands: [real(...from)],
        call: (x) => lib.broadcastTo(x, shape),
        reference: (x) => gather(x, shape, (index) => index.map((at, i) => (from[i] === 1 ? 0 : at))),
        smooth: true,
      };
    },
  ],
  [
    'matmul',
    (d) => {
      const [m, k, n] = [d.size() % 40, d.size() % 40, d.size() % 40];
      const leading = d.once(2) ? [d.int(0, 3)] : [];
      const one = leading.length === 0 || d.once(2);
      const [transposeA, transposeB] = [d.once(2), d.once(2)];
      const a = transposeA ? [k, m] : [m, k];
      const b = transposeB ? [n, k] : [k, n];
      return {
        operands: [real(...leading, ...a), real(...(one ? b : [...leading, ...b]))],
        call: (x, y) => lib.matmul(x, y, { transposeA, transposeB }),
        reference: (x, y) => product(x, y, transposeA, transposeB),
        smooth: true,
      };
    },
  ],
  ['linear', (d) => layer(d, 'dense', (x, { u, bias }, options) => lib.linear(x, u, bias, options))],
  withoutGuide('lowRankLinear', 'lowrank'),
  withoutGuide('blockDenseLinear', 'blockdense'),
  withoutGuide('blockShuffleLinear', 'blockshuffle'),
  [
    'structuredLinear',
    (d) =>
      layer(d, d.pick(['dense', 'lowrank', 'blockdense', 'blockshuffle', 'btt'] as const), lib.structuredLinear, true),
  ],
  [
    'mergeFactors',
    (d) => {
      const { v, u } = smallShapes(
        d.pick(['lowrank', 'blockdense', 'blockshuffle', 'btt'] as const),
        12,
        6 * d.int(1, 3),
      );
      return {
        operands: [real(...v!), real(...u)],
        call: lib.mergeFactors,
        reference: (v, u) => {
          const identity: Nd = {
            shape: [12, 12],
            data: Float64Array.from({ length: 144 }, (_, i) => Number(i % 13 === 0)),
          };
          const y = structured(identity, blocks(v), blocks(u));
          return permuted(y, [1, 0]);
        },
      };
    },
  ],
  [
    'feedForward',
    (d) => {
      const activation = d.pick(ACTIVATIONS);
      const [n, hidden] = [d.int(0, 12), 6 * d.int(1, 3)];
      const wide = activation === 'swiglu' ? 2 * hidden : hidden;
      const biased = d.once(2);
      return {
        operands: [real(n, 6), real(wide, 6), real(3, hidden), real(6, 3), ...(biased ? [real(wide)] : [])],
        call: (x, u1, v2, u2, bias) => lib.feedForward(x, { u: u1, bias }, { v: v2, u: u2 }, activation),
        reference: (x, u1, v2, u2, bias) =>
          structured(activate(plusBias(dense(x, u1), bias), activation), blocks(v2), blocks(u2)).data,
        smooth: activation !== 'relu',
      };
    },
  ],
  [
    'causalAttention',
    (d) => {
      const kvHeads = d.int(1, 2);
      const heads = kvHeads * d.int(1, 2);
      const ropeBase = d.pick([0, 100, 10000]);
      const width = (heads + 2 * kvHeads) * 2 * d.int(1, 3);
      return {
        operands: [real(d.int(0, 2), d.int(0, 9), width)],
        call: (qkv) => lib.causalAttention(qkv, { heads, kvHeads, ropeBase }),
        reference: (qkv) => attention(qkv, { heads, kvHeads, ropeBase }),
        smooth: true,
      };
    },
  ],
  [
    'layerNorm',
    (d) => {
      const width = d.width() + 1;
      return {
        operands: [real(d.int(0, 7), width), real(width), ...(d.once(2) ? [real(width)] : [])],
        call: (x, weight, bias) => lib.layerNorm(x, weight, bias),
        reference: layerNormOf,
      };
    },
  ],
  [
    'rmsNorm',
    (d) => {
      const width = d.width();
      return {
        operands: [real(d.int(0, 7), width), real(width)],
        call: (x, weight) => lib.rmsNorm(x, weight),
        reference: rmsNormOf,
      };
    },
  ],
  [
    'embedding',
    (d) => {
      const [n, features] = [d.width(), d.size()];
      return {
        operands: [real(n, features), ids(n, ...d.shape(0, 2))],
        call: (table, which) => lib.embedding(which, table),
        reference: (table, which) =>
          Float64Array.from(
            { length: which.data.length * features },
            (_, i) => table.data[which.data[Math.floor(i / features)]! * features + (i % features)]!,
          ),
        smooth: true,
      };
    },
  ],
  [
    'crossEntropy',
    (d) => {
      const [n, classes] = [d.int(0, 9), d.width()];
      return {
        operands: [real(n, classes), ids(classes, n)],
        call: (logits, targets) => lib.crossEntropy(logits, targets),
        reference: (logits, targets) => meanLoss(logits, targets.data),
        smooth: true,
      };
    },
  ],
  [
    'linearCrossEntropy',
    (d) => {
      const [n, features, classes] = [d.int(0, 9), d.int(1, 9), d.width()];
      return {
        operands: [real(n, features), real(classes, features), ids(classes, n)],
        call: (x, weight, targets) => lib.linearCrossEntropy(x, weight, targets),
        reference: (x, weight, targets) => meanLoss(logitsOf(x, weight), targets.data),
        smooth: true,
      };
    },
  ],
  [
    'svd',
    (d) => {
      const [m, n] = [d.int(1, 9), d.int(1, 9)];
      return {
        operands: [real(m, n)],
        // Multiplied again: vectors may have either sign.
        call: (a) => {
          const { u, s, vt } = lib.svd(a);
          return lib.matmul(lib.mul(u, s), vt);
        },
        reference: (a) => a.data.slice(),
      };
    },
  ],
  ['polarFactor', (d) => ({ operands: [real(d.int(1, 9), d.int(1, 9))], call: lib.polarFactor })],
  ['clone', (d) => ({ operands: [real(...d.shape())], call: lib.clone, reference: (x) => x.data.slice() })],
]);
