/** The whole feedforward network against the float64 reference. */
import { defineFeedForward, type FeedForwardGradient, type LinearSpec } from '../../lib/functional';
import type { Activation } from '../../lib/ops/activation';
import { STRUCTURE_NAMES } from '../../lib/structures';
import { onEveryIsa } from '../support/check_op';
import { referenceFfnBackward, referenceFfnForward } from '../support/reference';
import { SMALL } from '../support/structures';
import { expectErrorsBelow, randomLayer, TestRandom } from './layers';

/** fc1 and fc2 of `d` and `hidden` features for each structure; fc1's output is doubled for swiglu. */
const NETWORKS: Readonly<Record<string, (hidden: number, fc1Out: number) => readonly [LinearSpec, LinearSpec]>> = {
  dense: (hidden, out) => [
    { structure: 'dense', inFeatures: 13, outFeatures: out },
    { structure: 'dense', inFeatures: hidden, outFeatures: 11 },
  ],
  lowrank: (hidden, out) => [
    { structure: 'lowrank', inFeatures: 12, outFeatures: out, rank: 5 },
    { structure: 'lowrank', inFeatures: hidden, outFeatures: 12, rank: 7 },
  ],
  blockdense: (hidden, out) => [
    { structure: 'blockdense', inFeatures: 12, outFeatures: out, rank: 8, nblocks: 4 },
    { structure: 'blockdense', inFeatures: hidden, outFeatures: 12, rank: 8, nblocks: 2 },
  ],
  blockshuffle: (hidden, out) => [
    { structure: 'blockshuffle', inFeatures: 12, outFeatures: out, nblocks: 4 },
    { structure: 'blockshuffle', inFeatures: hidden, outFeatures: 12, nblocks: 2 },
  ],
  'blockshuffle of unequal blocks': (hidden, out) => [
    { structure: 'blockshuffle', inFeatures: 12, outFeatures: out, nblocks: [3, 2], rank: 6 },
    { structure: 'blockshuffle', inFeatures: hidden, outFeatures: 9, nblocks: [2, 3], rank: 30 },
  ],
  ...Object.fromEntries(
    STRUCTURE_NAMES.map((structure) => [
      `${structure}, small`,
      (hidden: number, out: number): [LinearSpec, LinearSpec] => [
        { structure, inFeatures: 12, outFeatures: out, ...SMALL[structure] },
        { structure, inFeatures: hidden, outFeatures: 18, ...SMALL[structure] },
      ],
    ]),
  ),
  'activations between the factors': (hidden, out) => [
    { structure: 'blockshuffle', inFeatures: 12, outFeatures: out, nblocks: [3, 2], rank: 6, innerActivation: 'gelu' },
    { structure: 'lowrank', inFeatures: hidden, outFeatures: 9, rank: 7, innerActivation: 'silu' },
  ],
  'an activation between the factors of the second layer': (hidden, out) => [
    { structure: 'btt', inFeatures: 12, outFeatures: out, ...SMALL.btt },
    { structure: 'blockshuffle', inFeatures: hidden, outFeatures: 18, ...SMALL.blockshuffle, innerActivation: 'relu' },
  ],
  'a mix of structures': (hidden, out) => [
    { structure: 'dense', inFeatures: 7, outFeatures: out },
    { structure: 'lowrank', inFeatures: hidden, outFeatures: 7, rank: 3 },
  ],
};

const ACTIVATIONS: readonly Activation[] = ['gelu', 'swiglu', 'silu', 'relu', 'none'];
const cases = Object.keys(NETWORKS).flatMap((network) =>
  ACTIVATIONS.flatMap((activation) => [undefined, 0.25].map((alpha) => [network, activation, alpha] as const)),
);

test.each(cases)('%s, %s, alpha %s', (network, activation, alpha) => {
  const hidden = 36;
  const [fc1Spec, fc2Spec] = NETWORKS[network]!(hidden, activation === 'swiglu' ? 2 * hidden : hidden);
  const random = new TestRandom(8);
  const fc1 = randomLayer(fc1Spec, random, alpha);
  const fc2 = randomLayer(fc2Spec, random, alpha);
  const ffn = defineFeedForward({ fc1: fc1Spec, fc2: fc2Spec, activation });
  for (const tokens of [1, 11]) {
    const x = random.array(tokens * fc1Spec.inFeatures);
    const dy = random.array(tokens * fc2Spec.outFeatures);
    const exact = Float64Array.from(x);
    const y = referenceFfnForward(fc1.reference, fc2.reference, activation, exact);
    const g = referenceFfnBackward(fc1.reference, fc2.reference, activation, exact, Float64Array.from(dy));
    const inputs = { x, fc1: fc1.arrays, fc2: fc2.arrays };
    onEveryIsa(() => {
      const ours = ffn.forward(inputs, { training: true });
      expectErrorsBelow(1e-5, { y: [ours.y, y], inference: [ffn.forward(inputs).y, y] });
      const activated = fc1Spec.innerActivation ?? fc2Spec.innerActivation;
      for (const saved of activated ? [ours.saved] : [ours.saved, { pre: ours.saved.pre }]) {
        const gradients = ffn.backward({ dy, ...inputs, saved });
        expectErrorsBelow(2e-5, {
          dx: [gradients.dx, g.fc1.dx],
          dv1: [gradients.fc1.dv, g.fc1.dv],
          du1: [gradients.fc1.du, g.fc1.du],
          dbias1: [gradients.fc1.dbias, g.fc1.dbias],
          dguide1: [gradients.fc1.dguide, g.fc1.dguide],
          dv2: [gradients.fc2.dv, g.fc2.dv],
          du2: [gradients.fc2.du, g.fc2.du],
          dbias2: [gradients.fc2.dbias, g.fc2.dbias],
          dguide2: [gradients.fc2.dguide, g.fc2.dguide],
        });
      }
    });
  }
});

test('only the gradients asked for are computed, into arrays of the caller', () => {
  const random = new TestRandom(9);
  const [fc1Spec, fc2Spec] = NETWORKS.lowrank!(40, 40);
  const [fc1, fc2] = [randomLayer(fc1Spec, random), randomLayer(fc2Spec, random)];
  const ffn = defineFeedForward({ fc1: fc1Spec, fc2: fc2Spec, activation: 'gelu' });
  const inputs = { x: random.array(36), fc1: fc1.arrays, fc2: fc2.arrays };
  const dy = random.array(36);
  const { saved } = ffn.forward(inputs, { training: true });
  const all = ffn.backward({ dy, ...inputs, saved });
  const needs: FeedForwardGradient[] = ['fc1.dv', 'fc2.dbias'];
  const out = { 'fc1.dv': new Float32Array(60) };
  const some = ffn.backward({ dy, ...inputs, saved }, { needs, out });
  expect(some.fc1.dv).toBe(out['fc1.dv']);
  expect(some).toEqual({ fc1: { dv: all.fc1.dv }, fc2: { dbias: all.fc2.dbias } });
});
