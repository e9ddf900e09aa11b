/** Layers of odd and unequal sizes against the float64 reference, on every instruction set, with one and two threads. */
import { defineLinear, type LinearSpec } from '../../lib/functional';
import { native } from '../../lib/native';
import type { Activation } from '../../lib/ops/activation';
import { STRUCTURE_NAMES } from '../../lib/structures';
import { onEveryIsa } from '../support/check_op';
import { activate, activateBackward, referenceBackward, referenceForward, referenceMerge } from '../support/reference';
import { SMALL } from '../support/structures';
import { expectErrorsBelow, randomLayer, TestRandom } from './layers';

const threads = native.numThreads();
afterEach(() => native.setNumThreads(threads));

/** Runs `body` on every instruction set, with one thread and with two. */
function everywhere(body: () => void): void {
  onEveryIsa(() => {
    for (const count of [1, 2]) {
      native.setNumThreads(count);
      body();
    }
  });
}

const SPECS: readonly LinearSpec[] = [
  { structure: 'dense', inFeatures: 1, outFeatures: 1 },
  { structure: 'dense', inFeatures: 37, outFeatures: 53 },
  { structure: 'dense', inFeatures: 64, outFeatures: 96 },
  { structure: 'lowrank', inFeatures: 1, outFeatures: 7, rank: 1 },
  { structure: 'lowrank', inFeatures: 33, outFeatures: 21, rank: 9 },
  { structure: 'lowrank', inFeatures: 48, outFeatures: 112, rank: 16 },
  { structure: 'blockdense', inFeatures: 15, outFeatures: 11, rank: 6, nblocks: 3 },
  { structure: 'blockdense', inFeatures: 13, outFeatures: 17, rank: 5, nblocks: 1 },
  { structure: 'blockdense', inFeatures: 64, outFeatures: 50, rank: 32, nblocks: 4 },
  { structure: 'blockshuffle', inFeatures: 11, outFeatures: 13, nblocks: 1 },
  { structure: 'blockshuffle', inFeatures: 18, outFeatures: 27, nblocks: 3 },
  { structure: 'blockshuffle', inFeatures: 35, outFeatures: 14, nblocks: 7 },
  { structure: 'blockshuffle', inFeatures: 64, outFeatures: 128, nblocks: 4 },
  { structure: 'blockshuffle', inFeatures: 24, outFeatures: 24, nblocks: 8 },
  ...STRUCTURE_NAMES.map((structure) => ({ structure, inFeatures: 24, outFeatures: 42, ...SMALL[structure] })),
  // Unequal block counts; rank/K is no multiple of L.
  { structure: 'blockshuffle', inFeatures: 22, outFeatures: 15, nblocks: [2, 3], rank: 30 },
  { structure: 'blockshuffle', inFeatures: 15, outFeatures: 26, nblocks: [3, 2], rank: 6 },
  { structure: 'blockshuffle', inFeatures: 10, outFeatures: 28, nblocks: [5, 4], rank: 20 },
  { structure: 'blockshuffle', inFeatures: 17, outFeatures: 20, nblocks: [1, 5], rank: 35 },
  { structure: 'blockshuffle', inFeatures: 21, outFeatures: 19, nblocks: [7, 1], rank: 14 },
];

/** An activation between the factors, at sizes of one block and of several, whole vectors and odd ones. */
const ACTIVATED: readonly LinearSpec[] = (['gelu', 'silu', 'relu'] as const).flatMap((innerActivation) => [
  { structure: 'lowrank', inFeatures: 33, outFeatures: 21, rank: 9, innerActivation },
  { structure: 'lowrank', inFeatures: 48, outFeatures: 112, rank: 16, innerActivation },
  { structure: 'blockdense', inFeatures: 15, outFeatures: 11, rank: 6, nblocks: 3, innerActivation },
  { structure: 'blockshuffle', inFeatures: 64, outFeatures: 128, nblocks: 4, innerActivation },
  { structure: 'blockshuffle', inFeatures: 15, outFeatures: 26, nblocks: [3, 2], rank: 6, innerActivation },
  { structure: 'blockshuffle', inFeatures: 17, outFeatures: 20, nblocks: [1, 5], rank: 35, innerActivation },
  { structure: 'btt', inFeatures: 24, outFeatures: 42, ...SMALL.btt, innerActivation },
]);

const name = ({ structure, inFeatures, outFeatures, rank, nblocks, innerActivation }: LinearSpec): string =>
  `${structure} ${inFeatures} → ${outFeatures}, rank ${rank ?? '-'}, nblocks ${nblocks ?? '-'}, ${innerActivation ?? 'none'}`;

describe.each([...SPECS, ...ACTIVATED].map((spec) => [name(spec), spec] as const))('%s', (_, spec) => {
  test.each([1, 2, 7, 19, 65])('%i tokens', (tokens) => {
    const random = new TestRandom(tokens);
    const { arrays, reference } = randomLayer(spec, random);
    const layer = defineLinear(spec);
    const x = random.array(tokens * spec.inFeatures);
    const g = random.array(tokens * spec.outFeatures);
    const y = referenceForward(reference, Float64Array.from(x));
    const gradients = referenceBackward(reference, Float64Array.from(x), Float64Array.from(g));
    everywhere(() => {
      const ours = layer.forward({ x, ...arrays }, { training: true });
      expectErrorsBelow(1e-5, { y: [ours.y, y] });
      expect(layer.forward({ x, ...arrays }).y).toEqual(ours.y);
      for (const saved of spec.innerActivation ? [ours.saved] : [ours.saved, {}]) {
        const { dx, dv, du, dbias, dguide } = layer.backward({ dy: g, x, ...arrays, saved });
        expectErrorsBelow(2e-5, {
          dx: [dx, gradients.dx],
          dv: [dv, gradients.dv],
          du: [du, gradients.du],
          dbias: [dbias, gradients.dbias],
          dguide: [dguide, null],
        });
      }
    });
  });

  test.each([0, 0.25, 1])('guide with alpha %d', (alpha) => {
    const random = new TestRandom(3);
    const { arrays, reference } = randomLayer(spec, random, alpha);
    const layer = defineLinear(spec);
    const x = random.array(5 * spec.inFeatures);
    const g = random.array(5 * spec.outFeatures);
    const y = referenceForward(reference, Float64Array.from(x));
    const gradients = referenceBackward(reference, Float64Array.from(x), Float64Array.from(g));
    everywhere(() => {
      const ours = layer.forward({ x, ...arrays }, { training: true });
      expectErrorsBelow(1e-5, { y: [ours.y, y] });
      const { dx, dv, du, dbias, dguide } = layer.backward({ dy: g, x, ...arrays, saved: ours.saved });
      expectErrorsBelow(2e-5, {
        dx: [dx, gradients.dx],
        dv: [dv, gradients.dv],
        du: [du, gradients.du],
        dbias: [dbias, gradients.dbias],
        dguide: [dguide, gradients.dguide],
      });
    });
  });

  test('merge is the layer applied to the identity', () => {
    const { arrays, reference } = randomLayer(spec, new TestRandom(5));
    const layer = defineLinear(spec);
    if (spec.structure === 'dense' || spec.innerActivation) {
      expect(() => layer.merge(arrays)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }));
      return;
    }
    const merged = referenceMerge(reference);
    everywhere(() => expectErrorsBelow(1e-5, { merged: [layer.merge(arrays), merged] }));
  });
});

describe.each<Activation>(['gelu', 'silu', 'relu', 'swiglu'])('%s', (activation) => {
  test.each<LinearSpec>([
    ...STRUCTURE_NAMES.map((structure) => ({
      structure,
      inFeatures: 30,
      outFeatures: 18,
      ...SMALL[structure],
      activation,
    })),
    { structure: 'dense', inFeatures: 19, outFeatures: 70, activation },
    { structure: 'lowrank', inFeatures: 20, outFeatures: 34, rank: 7, activation },
    { structure: 'blockdense', inFeatures: 12, outFeatures: 50, rank: 9, nblocks: 3, activation },
    { structure: 'blockshuffle', inFeatures: 16, outFeatures: 72, nblocks: 4, activation },
    { structure: 'blockshuffle', inFeatures: 15, outFeatures: 26, nblocks: [3, 2], rank: 6, activation },
  ])('$structure with nblocks $nblocks', (spec) => {
    const random = new TestRandom(11);
    const { arrays, reference } = randomLayer(spec, random, 0.5);
    const layer = defineLinear(spec);
    const x = random.array(9 * spec.inFeatures);
    const g = random.array(9 * layer.features);
    const exact = Float64Array.from(x);
    const pre = referenceForward(reference, exact);
    const dpre = activateBackward(activation, pre, spec.outFeatures, Float64Array.from(g));
    const gradients = referenceBackward(reference, exact, dpre);
    everywhere(() => {
      const ours = layer.forward({ x, ...arrays }, { training: true });
      expectErrorsBelow(1e-5, {
        y: [ours.y, activate(activation, pre, spec.outFeatures)],
        inference: [layer.forward({ x, ...arrays }).y, activate(activation, pre, spec.outFeatures)],
      });
      const { dx, dv, du, dbias, dguide } = layer.backward({ dy: g, x, ...arrays, saved: ours.saved });
      expectErrorsBelow(2e-5, {
        dx: [dx, gradients.dx],
        dv: [dv, gradients.dv],
        du: [du, gradients.du],
        dbias: [dbias, gradients.dbias],
        dguide: [dguide, gradients.dguide],
      });
    });
  });
});

test.each(['none', 'silu'] as const)(
  'only the gradients asked for, with the same bits; inner %s',
  (innerActivation) => {
    const spec: LinearSpec = {
      structure: 'blockshuffle',
      inFeatures: 32,
      outFeatures: 48,
      nblocks: 4,
      innerActivation,
    };
    const random = new TestRandom(1);
    const { arrays } = randomLayer(spec, random, 0.5);
    const layer = defineLinear(spec);
    const x = random.array(6 * 32);
    const dy = random.array(6 * 48);
    const { saved } = layer.forward({ x, ...arrays }, { training: true });
    const all = layer.backward({ dy, x, ...arrays, saved });
    for (const gradient of ['dx', 'dv', 'du', 'dguide', 'dbias'] as const)
      expect(layer.backward({ dy, x, ...arrays, saved }, { needs: [gradient] })).toEqual({ [gradient]: all[gradient] });
  },
);

test('results go into the arrays of the caller', () => {
  const spec: LinearSpec = { structure: 'lowrank', inFeatures: 8, outFeatures: 12, rank: 4, activation: 'gelu' };
  const random = new TestRandom(2);
  const { arrays } = randomLayer(spec, random);
  const layer = defineLinear(spec);
  const x = random.array(3 * 8);
  const expected = layer.forward({ x, ...arrays }, { training: true });
  const out = { y: new Float32Array(36), h: new Float32Array(12), pre: new Float32Array(36) };
  const { y, saved } = layer.forward({ x, ...arrays }, { training: true, out });
  expect([y === out.y, saved.h === out.h, saved.pre === out.pre]).toEqual([true, true, true]);
  expect({ y, saved }).toEqual(expected);
  const du = new Float32Array(48);
  const g = layer.backward({ dy: y, x, ...arrays, saved }, { needs: ['dx', 'du'], out: { du } });
  expect(g.du).toBe(du);
  expect(layer.merge(arrays, new Float32Array(96))).toEqual(layer.merge(arrays));
});

test('views into larger memory and shared memory are read and written in place', () => {
  const layer = defineLinear({ structure: 'dense', inFeatures: 4, outFeatures: 3 });
  const memory = new Float32Array(new SharedArrayBuffer(4 * 64)).map((_, i) => Math.sin(i));
  const [x, u] = [memory.subarray(1, 9), memory.subarray(11, 23)];
  const out = { y: memory.subarray(30, 36) };
  const expected = layer.forward({ x: x.slice(), u: u.slice() });
  const before = memory.slice();
  layer.forward({ x, u }, { out });
  expect(out.y.slice()).toEqual(expected.y);
  before.set(expected.y, 30);
  expect(memory.slice()).toEqual(before);
});

test('runs repeat bit by bit', () => {
  const spec: LinearSpec = { structure: 'blockdense', inFeatures: 96, outFeatures: 130, rank: 48, nblocks: 4 };
  const random = new TestRandom(4);
  const { arrays } = randomLayer(spec, random);
  const layer = defineLinear(spec);
  const x = random.array(150 * 96);
  const dy = random.array(150 * 130);
  everywhere(() => {
    const run = () => {
      const { y, saved } = layer.forward({ x, ...arrays }, { training: true });
      return { y, ...layer.backward({ dy, x, ...arrays, saved }) };
    };
    const first = run();
    for (let i = 0; i < 5; i++) expect(run()).toEqual(first);
  });
});
