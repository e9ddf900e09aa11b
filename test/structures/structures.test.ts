/** Every structure by its definition: sizes and shapes that belong together, and ratios that mean what they say. */
import { OptionError } from '../../lib/errors';
import { linearDims } from '../../lib/ops/linear_dims';
import {
  chooseLayer,
  DEFINITIONS,
  parametersOf,
  type Sizes,
  STRUCTURE_NAMES,
  type Structure,
} from '../../lib/structures';
import { SMALL, STRUCTURED, smallShapes } from '../support/structures';

// The command line knows the structures without a binary.
jest.mock('../../lib/native', () => {
  throw new Error('the definitions load the native binary');
});

const WIDTHS = [
  [12, 18],
  [64, 256],
  [256, 64],
  [96, 96],
  [100, 60],
  [768, 3072],
  [3072, 768],
  [1024, 4096],
] as const;

const keptBy = (structure: Structure, inFeatures: number, outFeatures: number, ratio: number) =>
  parametersOf(chooseLayer('test', structure, { inFeatures, outFeatures, ratio })) / (inFeatures * outFeatures);

test.each(STRUCTURE_NAMES)('%s: factors map the one width to the other, and tell their sizes', (structure) => {
  for (const [inFeatures, outFeatures] of [
    [12, 18],
    [24, 96],
    [96, 24],
  ] as const) {
    const { v, u } = smallShapes(structure, inFeatures, outFeatures);
    const dims = linearDims('test', v, u);
    expect(dims).toMatchObject({ inFeatures, outFeatures, macs: parametersOf({ v, u }) });
    expect(DEFINITIONS[structure].sizes(dims)).toEqual(SMALL[structure]);
  }
});

describe.each(STRUCTURED)('%s', (structure) => {
  test.each(WIDTHS)('%i → %i: a ratio gives the nearest size, never more than dense', (inFeatures, outFeatures) => {
    const features = { inFeatures, outFeatures };
    const { all, words } = DEFINITIONS[structure].choices(features);
    const kept = all
      .map((sizes) => parametersOf(DEFINITIONS[structure].shapes('test', sizes, features)) / (inFeatures * outFeatures))
      .filter((part) => part <= 1);
    expect(kept.length).toBeGreaterThan(0);
    for (let ratio = 0.01; ratio <= 1; ratio += 0.03) {
      const { v, u, why } = chooseLayer('test', structure, { ...features, ratio });
      const distance = Math.abs(parametersOf({ v, u }) / (inFeatures * outFeatures) - ratio);
      expect(distance).toBe(Math.min(...kept.map((part) => Math.abs(part - ratio))));
      expect(why).toBe(`nearest to ${ratio} among ${words}`);
    }
  });

  test('what a layer cannot have is refused by name', () => {
    const refused = (options: object, message: string) => {
      const choose = () => chooseLayer('test', structure, { inFeatures: 12, outFeatures: 18, ...options });
      expect(choose).toThrow(OptionError);
      expect(choose).toThrow(message);
    };
    const { required, optional } = DEFINITIONS[structure];
    refused({}, `test: expected either ratio or ${required.join(' and ')}, got 'none of them'`);
    refused({ ratio: 1.5 }, 'test: ratio: expected a number from 0 to 1, got 1.5');
    refused({ ratio: 0 }, 'test: ratio: expected a number above 0, got 0');
    refused({ ...SMALL[structure], ratio: 0.5 }, 'expected either ratio or');
    refused({ inFeatures: 0, ratio: 0.5 }, 'test: inFeatures');
    refused(
      { inFeatures: 1, outFeatures: 1, ratio: 0.5 },
      `test: ratio: expected widths at which ${structure} has sizes within dense (they are 1 and 1), got 0.5`,
    );
    for (const option of ['rank', 'nblocks'] as const)
      if ([...required, ...optional].includes(option))
        refused({ ...SMALL[structure], [option]: 0 }, `test: ${option}: expected a whole number of at least 1, got 0`);
      else refused({ ...SMALL[structure], [option]: 2 }, `test: ${option}: expected none for ${structure}, got 2`);
  });
});

/** What 0.4 gives 768 → 3072. */
const AT_40: Readonly<Record<Structure, Sizes | null>> = {
  dense: null,
  lowrank: { rank: 248 },
  blockdense: { rank: 272, nblocks: 2 },
  blockshuffle: { nblocks: 3 },
  btt: { rank: 9, nblocks: [24, 48] },
};

test.each(STRUCTURED)('the sizes of %s at 768 → 3072', (structure) => {
  const { v, u } = chooseLayer('test', structure, { inFeatures: 768, outFeatures: 3072, ratio: 0.4 });
  expect(DEFINITIONS[structure].sizes(linearDims('test', v, u))).toEqual(AT_40[structure]);
});

test('ranks come in steps of 8, block counts as the widths force', () => {
  expect(keptBy('lowrank', 768, 3072, 0.05)).toBeCloseTo(0.052, 3);
  for (let ratio = 0.02; ratio < 1; ratio += 0.07) {
    // Half a step of 8 ranks, each (in + out) / (in · out) of the dense parameters.
    expect(Math.abs(keptBy('lowrank', 768, 3072, ratio) - ratio)).toBeLessThanOrEqual((4 * 3840) / (768 * 3072) + 1e-9);
    expect(Math.abs(keptBy('blockdense', 768, 3072, ratio) - ratio)).toBeLessThanOrEqual(
      (4 * 3456) / (768 * 3072) + 1e-9,
    );
  }
  expect(keptBy('blockdense', 768, 3072, 0.9)).toBeCloseTo(0.9, 2);
  expect(keptBy('blockshuffle', 768, 3072, 0.05)).toBeCloseTo(1.25 / 24, 5);
});

/** The paper's tables: width, then what 63 % and 32 % give. */
const PUBLISHED = [
  [768, { rank: 384 }, { rank: 192 }, { rank: 512, nblocks: 2 }, { rank: 256, nblocks: 2 }],
  [1024, { rank: 512 }, { rank: 256 }, { rank: 768, nblocks: 4 }, { rank: 384, nblocks: 4 }],
  [1536, { rank: 768 }, { rank: 384 }, { rank: 1024, nblocks: 2 }, { rank: 512, nblocks: 2 }],
  [2048, { rank: 1024 }, { rank: 512 }, { rank: 1536, nblocks: 4 }, { rank: 768, nblocks: 4 }],
] as const;

test.each(PUBLISHED)('0.63 and 0.32 at width %i are the sizes of the paper', (d, low63, low32, dense63, dense32) => {
  for (const features of [
    { inFeatures: d, outFeatures: 4 * d },
    { inFeatures: 4 * d, outFeatures: d },
  ]) {
    const sizes = (structure: Structure, ratio: number) => {
      const { v, u } = chooseLayer('test', structure, { ...features, ratio });
      return DEFINITIONS[structure].sizes(linearDims('test', v, u));
    };
    expect([sizes('lowrank', 0.63), sizes('lowrank', 0.32)]).toEqual([low63, low32]);
    expect([sizes('blockdense', 0.63), sizes('blockdense', 0.32)]).toEqual([dense63, dense32]);
    expect([sizes('blockshuffle', 0.63), sizes('blockshuffle', 0.32)]).toEqual([{ nblocks: 2 }, { nblocks: 4 }]);
    expect(chooseLayer('test', 'lowrank', { ...features, ratio: 0.32 }).why).toBe('the published size of 0.32');
  }
});

test('block counts may differ between the factors where both are block-diagonal', () => {
  const features = { inFeatures: 22, outFeatures: 15 };
  const pair = { rank: 30, nblocks: [2, 3] as const };
  expect(chooseLayer('test', 'blockshuffle', { ...features, ...pair })).toEqual({ v: [2, 15, 11], u: [3, 5, 10] });
  expect(() => chooseLayer('test', 'blockdense', { ...features, ...pair, rank: 10 })).toThrow(
    'nblocks: expected a whole number',
  );
  expect(() => chooseLayer('test', 'blockshuffle', { ...features, rank: 30, nblocks: [2, 4] })).toThrow(
    'test: nblocks: expected a divisor of outFeatures (15) and rank (30), got 4',
  );
});
