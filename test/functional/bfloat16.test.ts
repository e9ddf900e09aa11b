/** Raw arrays of bfloat16: conversions bit by bit, layers against the float64 reference, and one type for all arrays of a call. */

import {
  defineFeedForward,
  defineLinear,
  fromBfloat16,
  type LinearInputs,
  type LinearSpec,
  toBfloat16,
} from '../../lib/functional';
import { asyncKernels, kernels } from '../../lib/kernels';
import { STRUCTURE_NAMES } from '../../lib/structures';
import { tensor } from '../../lib/tensor';
import { BFLOAT16, onEveryIsa } from '../support/check_op';
import {
  activate,
  activateBackward,
  referenceBackward,
  referenceFfnBackward,
  referenceFfnForward,
  referenceForward,
  referenceMerge,
} from '../support/reference';
import { SMALL } from '../support/structures';
import { Bfloat16Random, bitsOf, expectErrorsBelow, randomLayer } from './layers';

const { tolerance, gradientTolerance } = BFLOAT16;

/** The values of results, none for those that are missing. */
const values = (bits: Uint16Array | undefined): Float32Array | undefined => bits && fromBfloat16(bits);

const SPECS: readonly LinearSpec[] = [
  ...STRUCTURE_NAMES.map((structure) => ({ structure, inFeatures: 24, outFeatures: 42, ...SMALL[structure] })),
  { structure: 'dense', inFeatures: 37, outFeatures: 53 },
  { structure: 'lowrank', inFeatures: 33, outFeatures: 22, rank: 9, activation: 'swiglu' },
  { structure: 'lowrank', inFeatures: 48, outFeatures: 112, rank: 16, innerActivation: 'silu' },
  { structure: 'blockdense', inFeatures: 15, outFeatures: 11, rank: 6, nblocks: 3, activation: 'gelu' },
  { structure: 'blockshuffle', inFeatures: 15, outFeatures: 26, nblocks: [3, 2], rank: 6, innerActivation: 'gelu' },
];

describe('conversion', () => {
  const numbers = new Float32Array(65536 * 6);
  const words = new Uint32Array(numbers.buffer);
  [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff].forEach((low, i) => {
    for (let high = 0; high < 65536; high++) words[i * 65536 + high] = high * 65536 + low;
  });
  const isNaN16 = (bits: number) => (bits & 0x7fff) > 0x7f80;

  test('rounds to nearest, ties to even, and keeps NaN, on every instruction set', () => {
    onEveryIsa((isa) => {
      const bits = toBfloat16(numbers);
      const wrong = [...bits.keys()].filter((i) => {
        const word = words[i]!;
        if (Number.isNaN(numbers[i])) return !isNaN16(bits[i]!);
        const high = word >>> 16;
        const low = word & 0xffff;
        return bits[i] !== high + (low > 0x8000 || (low === 0x8000 && high % 2 === 1) ? 1 : 0);
      });
      expect({ isa, wrong: wrong.slice(0, 9).map((i) => words[i]!.toString(16)) }).toEqual({ isa, wrong: [] });
    });
  });

  test('back is exact', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    onEveryIsa(() => {
      const wide = fromBfloat16(all);
      const bits = new Uint32Array(wide.buffer);
      const wrong = [...all].filter((i) => (isNaN16(i) ? !Number.isNaN(wide[i]) : bits[i] !== i * 65536));
      expect(wrong).toEqual([]);
    });
  });

  test('of other arrays is refused', () => {
    const wrong = (call: () => unknown, message: string) =>
      expect(call).toThrow(expect.objectContaining({ code: 'ERR_DTYPE', message }));
    wrong(() => toBfloat16(new Float64Array(2) as never), 'toBfloat16: expected a Float32Array, got Float64Array');
    wrong(
      () => fromBfloat16(new Float32Array(2) as never),
      'fromBfloat16: expected a Uint16Array of bfloat16 bits, got Float32Array',
    );
    expect(toBfloat16(new Float32Array(0))).toHaveLength(0);
  });
});

test.each(SPECS.flatMap((spec) => [undefined, 0.25].map((alpha) => ({ ...spec, alpha }))))(
  '$structure $inFeatures → $outFeatures, $activation, inner $innerActivation, alpha $alpha',
  ({ alpha, ...spec }) => {
    const layer = defineLinear(spec);
    for (const tokens of [1, 19]) {
      const random = new Bfloat16Random(tokens);
      const { arrays, reference } = randomLayer(spec, random, alpha);
      const [x, dy] = [random.array(tokens * spec.inFeatures), random.array(tokens * layer.features)];
      const exact = Float64Array.from(x);
      const pre = referenceForward(reference, exact);
      const activation = spec.activation ?? 'none';
      const dpre = activateBackward(activation, pre, spec.outFeatures, Float64Array.from(dy));
      const gradients = referenceBackward(reference, exact, dpre);
      const inputs = { x: toBfloat16(x), ...bitsOf(arrays) };
      onEveryIsa(() => {
        const { y, saved } = layer.forward(inputs, { training: true });
        expect(layer.forward(inputs).y).toEqual(y);
        expectErrorsBelow(tolerance, { y: [values(y), activate(activation, pre, spec.outFeatures)] });
        const { dx, dv, du, dbias, dguide } = layer.backward({ dy: toBfloat16(dy), ...inputs, saved });
        expectErrorsBelow(gradientTolerance, {
          dx: [values(dx), gradients.dx],
          dv: [values(dv), gradients.dv],
          du: [values(du), gradients.du],
          dbias: [values(dbias), gradients.dbias],
          dguide: [values(dguide), gradients.dguide],
        });
      });
      if (spec.structure !== 'dense' && spec.innerActivation === undefined)
        expectErrorsBelow(tolerance, { merged: [values(layer.merge(bitsOf(arrays))), referenceMerge(reference)] });
    }
  },
);

const FC1: LinearSpec = { structure: 'lowrank', inFeatures: 12, outFeatures: 72, rank: 5 };
const FC2: LinearSpec = { structure: 'blockshuffle', inFeatures: 36, outFeatures: 12, nblocks: 2 };

function network(alpha?: number) {
  const random = new Bfloat16Random(8);
  const [fc1, fc2] = [randomLayer(FC1, random, alpha), randomLayer(FC2, random, alpha)];
  const [x, dy] = [random.array(11 * 12), random.array(11 * 12)];
  const inputs = { x: toBfloat16(x), fc1: bitsOf(fc1.arrays), fc2: bitsOf(fc2.arrays) };
  return { ffn: defineFeedForward({ fc1: FC1, fc2: FC2, activation: 'swiglu' }), fc1, fc2, x, dy, inputs };
}

test.each([undefined, 0.25])('the whole network, alpha %s', (alpha) => {
  const { ffn, fc1, fc2, x, dy, inputs } = network(alpha);
  const exact = Float64Array.from(x);
  const y = referenceFfnForward(fc1.reference, fc2.reference, 'swiglu', exact);
  const g = referenceFfnBackward(fc1.reference, fc2.reference, 'swiglu', exact, Float64Array.from(dy));
  onEveryIsa(() => {
    const ours = ffn.forward(inputs, { training: true });
    expectErrorsBelow(tolerance, { y: [values(ours.y), y] });
    const gradients = ffn.backward({ dy: toBfloat16(dy), ...inputs, saved: ours.saved });
    expectErrorsBelow(gradientTolerance, {
      dx: [values(gradients.dx), g.fc1.dx],
      dv1: [values(gradients.fc1.dv), g.fc1.dv],
      du1: [values(gradients.fc1.du), g.fc1.du],
      dbias1: [values(gradients.fc1.dbias), g.fc1.dbias],
      dguide1: [values(gradients.fc1.dguide), g.fc1.dguide],
      dv2: [values(gradients.fc2.dv), g.fc2.dv],
      du2: [values(gradients.fc2.du), g.fc2.du],
      dbias2: [values(gradients.fc2.dbias), g.fc2.dbias],
      dguide2: [values(gradients.fc2.dguide), g.fc2.dguide],
    });
  });
});

test('the asynchronous calls give the same bits, into arrays of the caller', async () => {
  const { ffn, dy, inputs } = network();
  const expected = ffn.forward(inputs, { training: true });
  const out = { y: new Uint16Array(11 * 12) };
  const { y, saved } = await ffn.forwardAsync(inputs, { training: true, out });
  expect(y).toBe(out.y);
  expect({ y, saved }).toEqual(expected);
  const backward = { dy: toBfloat16(dy), ...inputs, saved };
  expect(await ffn.backwardAsync(backward)).toEqual(ffn.backward(backward));
});

test('the arrays of a call are of one type, its outputs too', () => {
  const layer = defineLinear({ structure: 'lowrank', inFeatures: 4, outFeatures: 6, rank: 2, activation: 'gelu' });
  const floats = { x: new Float32Array(8), v: new Float32Array(8), u: new Float32Array(12), bias: new Float32Array(6) };
  const bits = { x: new Uint16Array(8), v: new Uint16Array(8), u: new Uint16Array(12), bias: new Uint16Array(6) };
  const refused = (call: () => unknown, message: string) =>
    expect(call).toThrow(expect.objectContaining({ code: 'ERR_DTYPE', message }));
  for (const name of ['v', 'u', 'bias'] as const) {
    refused(
      () => layer.forward({ ...bits, [name]: floats[name] } as LinearInputs<Uint16Array>),
      `linear.forward: ${name}: expected a Uint16Array of bfloat16 bits, got Float32Array`,
    );
    refused(
      () => layer.forward({ ...floats, [name]: bits[name] } as LinearInputs),
      `linear.forward: ${name}: expected a Float32Array, got Uint16Array`,
    );
  }
  const wrong = new Float32Array(12) as never;
  const of = 'expected a Uint16Array of bfloat16 bits, got Float32Array';
  refused(() => layer.forward(bits, { out: { y: wrong } }), `linear.forward: out.y: ${of}`);
  const saved = { pre: new Uint16Array(12) };
  refused(() => layer.backward({ ...bits, dy: wrong, saved }), `linear.backward: dy: ${of}`);
  const dy = new Uint16Array(12);
  refused(() => layer.backward({ ...bits, dy, saved: { pre: wrong } }), `linear.backward: saved.pre: ${of}`);
  refused(() => layer.backward({ ...bits, dy, saved: { h: wrong, ...saved } }), `linear.backward: saved.h: ${of}`);
  refused(() => layer.merge({ v: floats.v, u: bits.u } as never), `linear.merge: v: ${of}`);
  const memory = new Uint16Array(20);
  const overlapping = { ...bits, x: memory.subarray(0, 8) };
  expect(() => layer.forward(overlapping, { out: { y: memory.subarray(7, 19) } })).toThrow('overlaps');
  expect(layer.forward(overlapping, { out: { y: memory.subarray(8) } }).y.buffer).toBe(memory.buffer);
});

test('the bits of a tensor are taken without a copy', () => {
  const layer = defineLinear({ structure: 'dense', inFeatures: 2, outFeatures: 1 });
  const [x, u] = [tensor([1, 2], [1, 2], { dtype: 'bfloat16' }), tensor([3, 4], [1, 2], { dtype: 'bfloat16' })];
  expect([...fromBfloat16(layer.forward({ x: x.bits, u: u.bits }).y)]).toEqual([11]);
});

test('kernels take a Uint16Array for bfloat16 and for nothing else', () => {
  const bits = new Uint16Array(4);
  const refused = (call: () => unknown, message: string) =>
    expect(call).toThrow(expect.objectContaining({ code: 'ERR_DTYPE', message: expect.stringContaining(message) }));
  refused(
    () => kernels.random_uniform({ y: bits, seed_low: 0, seed_high: 0, offset: 0, low: 0, high: 1 }),
    'got bfloat16',
  );
  refused(() => kernels.scale_by({ x: bits, factor: bits }), 'factor: expected float32, got bfloat16');
  refused(() => kernels.add_scaled({ x: bits, acc: new Float32Array(4), scale: 1 }), 'expected bfloat16, got float32');
  refused(() => kernels.copy({ x: new Uint8Array(4) as never, y: bits }), 'Uint16Array of bfloat16 bits');
  expect(() => asyncKernels.copy({ x: bits, y: bits })).toThrow('takes tensors only');
});
