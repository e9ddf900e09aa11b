/** What a caller can get wrong, and what it is told. */
import * as tf from '@tensorflow/tfjs';
import { DeviceError, DisposedError, DTypeError, OptionError, type SffnError, ShapeError } from '../../lib';
import { sffn } from './support';

type Kind = new (...args: never[]) => SffnError;

const disposed = (): tf.Tensor => {
  const t = tf.zeros([2, 4]);
  t.dispose();
  return t;
};
const z = (...shape: number[]): tf.Tensor => tf.zeros(shape);
/** What a JavaScript caller may pass whatever the types say. */
const untyped = (value: unknown): never => value as never;

const TABLE: readonly [string, Kind, string, () => unknown][] = [
  [
    'x that is no tensor',
    OptionError,
    'dense: x: expected a tfjs tensor, got [1]',
    () => sffn.dense(untyped([1]), z(2, 4)),
  ],
  [
    'x that is null',
    OptionError,
    'dense: x: expected a tfjs tensor, got null',
    () => sffn.dense(untyped(null), z(2, 4)),
  ],
  [
    'x of int32',
    DTypeError,
    'dense: x: expected a float32 tensor, got int32',
    () => sffn.dense(tf.zeros([3, 4], 'int32'), z(2, 4)),
  ],
  [
    'x of bool',
    DTypeError,
    'dense: x: expected a float32 tensor, got bool',
    () => sffn.dense(tf.zeros([3, 4], 'bool'), z(2, 4)),
  ],
  [
    'x of strings',
    DTypeError,
    'dense: x: expected a float32 tensor, got string',
    () => sffn.dense(tf.tensor(['a']), z(2, 4)),
  ],
  [
    'weight of int32',
    DTypeError,
    'dense: weight: expected a float32 tensor, got int32',
    () => sffn.dense(z(3, 4), tf.zeros([2, 4], 'int32')),
  ],
  ['x disposed', DisposedError, 'dense: x: the tensor was disposed', () => sffn.dense(disposed(), z(2, 4))],
  [
    'v disposed',
    DisposedError,
    'lowRankLinear: v: the tensor was disposed',
    () => sffn.lowRankLinear(z(3, 4), disposed(), z(5, 2)),
  ],
  [
    'bias disposed',
    DisposedError,
    'dense: bias: the tensor was disposed',
    () => sffn.dense(z(3, 4), z(2, 4), disposed()),
  ],
  ['scalar x', ShapeError, 'Dense: x: expected [..., 4], got []', () => sffn.dense(tf.scalar(1), z(2, 4))],
  ['x of other features', ShapeError, 'Dense: x: expected [..., 4], got [3, 5]', () => sffn.dense(z(3, 5), z(2, 4))],
  ['weight of rank 1', ShapeError, 'dense: weight: expected 2 dimensions, got [4]', () => sffn.dense(z(3, 4), z(4))],
  [
    'v of rank 3 for low rank',
    ShapeError,
    'lowRankLinear: v: expected 2 dimensions',
    () => sffn.lowRankLinear(z(3, 4), z(1, 2, 4), z(5, 2)),
  ],
  [
    'v of rank 2 for blocks',
    ShapeError,
    'blockDenseLinear: v: expected 3 dimensions',
    () => sffn.blockDenseLinear(z(3, 4), z(2, 4), z(5, 2)),
  ],
  [
    'u of rank 2 for Monarch',
    ShapeError,
    'blockShuffleLinear: u: expected 3 dimensions',
    () => sffn.blockShuffleLinear(z(3, 4), z(2, 2, 2), z(5, 4)),
  ],
  [
    'factors that do not meet',
    ShapeError,
    'LowRankLinear: expected u to take the 2 features',
    () => sffn.lowRankLinear(z(3, 4), z(2, 4), z(5, 3)),
  ],
  [
    'bias of another length',
    ShapeError,
    'Dense: bias: expected [2], got [3]',
    () => sffn.dense(z(3, 4), z(2, 4), z(3)),
  ],
  [
    'guide of another shape',
    ShapeError,
    'LowRankLinear: guide: expected [5, 4], got [4, 5]',
    () => sffn.lowRankLinear(z(3, 4), z(2, 4), z(5, 2), null, { guide: { weight: z(4, 5), alpha: 0.5 } }),
  ],
  [
    'alpha above 1',
    OptionError,
    'LowRankLinear: alpha: expected a number from 0 to 1, got 2',
    () => sffn.lowRankLinear(z(3, 4), z(2, 4), z(5, 2), null, { guide: { weight: z(5, 4), alpha: 2 } }),
  ],
  [
    'an unknown activation',
    OptionError,
    "Dense: activation: expected one of none, gelu, silu, relu, swiglu, got 'elu'",
    () => sffn.dense(z(3, 4), z(2, 4), null, { activation: untyped('elu') }),
  ],
  [
    'swiglu of odd features',
    ShapeError,
    'expected an even number of output features for swiglu, got 3',
    () => sffn.dense(z(3, 4), z(3, 4), null, { activation: 'swiglu' }),
  ],
  [
    'layers that do not meet',
    ShapeError,
    'StructuredFFN: fc2: expected 8 input features, got 7',
    () => sffn.structuredFFN(z(3, 4), { u: z(8, 4) }, { u: z(4, 7) }),
  ],
  [
    'a layer of a network disposed',
    DisposedError,
    'structuredFFN: fc2: weight: the tensor was disposed',
    () => sffn.structuredFFN(z(3, 4), { u: z(8, 4) }, { u: disposed() }),
  ],
  [
    'an unknown option of a layer',
    OptionError,
    'use_bias: unknown option of LowRankDense; did you mean useBias?',
    () => sffn.layers.lowRankDense(untyped({ units: 4, rank: 2, use_bias: false })),
  ],
  [
    'an initializer of a dense kernel',
    OptionError,
    'kernelInitializer: unknown option of BlockDense',
    () => sffn.layers.blockDense(untyped({ units: 4, rank: 2, nblocks: 2, kernelInitializer: 'zeros' })),
  ],
  [
    'a constraint of a dense kernel',
    OptionError,
    'kernelConstraint: unknown option of FusedDense',
    () => sffn.layers.fusedDense(untyped({ units: 4, kernelConstraint: 'nonNeg' })),
  ],
  [
    'an unknown option of a network',
    OptionError,
    'hiden: unknown option of StructuredFeedForward; did you mean hidden?',
    () => sffn.layers.structuredFeedForward(untyped({ structure: 'dense', hiden: 8 })),
  ],
  [
    'an unknown option of a wrapper',
    OptionError,
    'alfa: unknown option of SelfGuided; did you mean alpha?',
    () => sffn.layers.selfGuided(untyped({ layer: sffn.layers.lowRankDense({ units: 4, rank: 2 }), alfa: 1 })),
  ],
  [
    'an unknown option of a call',
    OptionError,
    'activate: unknown option of dense; did you mean activation?',
    () => sffn.dense(z(3, 4), z(2, 4), null, untyped({ activate: 'gelu' })),
  ],
  [
    'an unknown option of the guidance',
    OptionError,
    'step: unknown option of Guidance; did you mean steps?',
    () => sffn.guide(untyped({}), untyped({ step: 3 })),
  ],
];

describe.each(['cpu', 'wasm'])('on %s', (backend) => {
  beforeAll(() => tf.setBackend(backend));

  test.each(TABLE)('%s', (_, kind, message, call) => {
    const { numTensors } = tf.memory();
    let error: unknown;
    tf.tidy(() => {
      try {
        call();
      } catch (caught) {
        error = caught;
      }
    });
    expect(error).toBeInstanceOf(kind);
    expect(String(error)).toContain(message);
    expect(tf.memory().numTensors).toBe(numTensors);
  });
});

test('x of complex64, which only the cpu backend makes', async () => {
  await tf.setBackend('cpu');
  expect(() => sffn.dense(tf.complex([1, 2], [3, 4]), z(2, 2))).toThrow(
    'dense: x: expected a float32 tensor, got complex64',
  );
});

test('a backend without the kernels', async () => {
  await tf.setBackend('cpu');
  const x = z(1, 1);
  tf.registerBackend('other', () => tf.findBackendFactory('cpu')());
  await tf.setBackend('other');
  const call = () => sffn.dense(x, x);
  expect(call).toThrow(DeviceError);
  expect(call).toThrow("dense: expected one of the tfjs backends cpu, wasm, tensorflow, got 'other'");
  await tf.setBackend('cpu');
  tf.removeBackend('other');
  expect(call().shape).toEqual([1, 1]);
});
