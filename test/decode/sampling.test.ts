import { Sampler, type SamplingOptions } from '../../lib/decode';
import { StopFilter } from '../../lib/decode/generate_text';

/** Probabilities 0.5, 0.25, 0.125, ... of ids in another order. */
const LOGITS = Float32Array.from([3, 0, 4, 1, 2], (rank) => -rank * Math.LN2);
const ORDER = [1, 3, 4, 0, 2];

function counts(options: SamplingOptions, draws = 4000, logits = LOGITS): number[] {
  const sampler = new Sampler({ seed: 3, ...options });
  const counted = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < draws; i++) counted[sampler.next(logits)]!++;
  return ORDER.map((id) => counted[id]! / draws);
}

const normalized = (weights: readonly number[]) => {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
};

test.each<[string, SamplingOptions, number[]]>([
  ['everything', {}, [16, 8, 4, 2, 1]],
  ['greedy', { temperature: 0 }, [1, 0, 0, 0, 0]],
  ['half the temperature', { temperature: 0.5 }, [256, 64, 16, 4, 1]],
  ['top-k', { topK: 2 }, [2, 1, 0, 0, 0]],
  ['top-k of more than there are', { topK: 9 }, [16, 8, 4, 2, 1]],
  ['top-p', { topP: 0.6 }, [2, 1, 0, 0, 0]],
  ['top-p that one token reaches', { topP: 0.5 }, [1, 0, 0, 0, 0]],
  ['min-p', { minP: 0.2 }, [4, 2, 1, 0, 0]],
  ['top-k, then top-p', { topK: 3, topP: 0.8 }, [2, 1, 0, 0, 0]],
])('%s', (_, options, weights) => {
  for (const [i, expected] of normalized(weights).entries()) {
    const actual = counts(options)[i]!;
    // 4000 draws: a standard deviation is below 0.008.
    expect(Math.abs(actual - expected)).toBeLessThan(0.03);
    if (expected === 0) expect(actual).toBe(0);
  }
});

test('the repetition penalty counts seen tokens, of the prompt too', () => {
  const logits = Float32Array.of(2, 1.5, -1, -1.2);
  const sampler = new Sampler({ temperature: 0, repetitionPenalty: 2 });
  expect(sampler.next(logits)).toBe(0);
  expect(sampler.next(logits)).toBe(1);
  // Now 1, 0.75, -1, -1.2.
  expect(sampler.next(logits)).toBe(0);
  const other = new Sampler({ temperature: 0, repetitionPenalty: 2 });
  other.see([0, 1]);
  // -2, -2.2, -1.9, -3.
  expect(other.next(Float32Array.of(-1, -1.1, -1.9, -3))).toBe(2);
});

test('equal logits: the smaller id; a seed gives the same draws', () => {
  expect(new Sampler({ temperature: 0 }).next(Float32Array.of(0, 1, 1))).toBe(1);
  expect(counts({ seed: 8 }, 200)).toEqual(counts({ seed: 8 }, 200));
  expect(counts({ seed: 8 }, 200)).not.toEqual(counts({ seed: 9 }, 200));
});

test('logits that are not numbers, or without a largest one, are refused; -Infinity is never drawn', () => {
  const { NaN: none, POSITIVE_INFINITY: most, NEGATIVE_INFINITY: least } = Number;
  for (const options of [{ temperature: 0 }, { temperature: 1 }, { topK: 1 }]) {
    const sampler = new Sampler(options);
    expect(() => sampler.next(Float32Array.of(1, none, 2))).toThrow('Sampler.next: logits: expected numbers');
    for (const wrong of [Float32Array.of(1, most), Float32Array.of(least, least)])
      expect(() => sampler.next(wrong)).toThrow('Sampler.next: logits: expected a largest that is finite');
    expect(sampler.next(Float32Array.of(least, 0, least))).toBe(1);
  }
});

test.each<[SamplingOptions, RegExp]>([
  [{ temperature: -1 }, /temperature: expected a number of at least 0, got -1/],
  [{ topK: 1.5 }, /topK/],
  [{ topP: 0 }, /topP: expected more than 0, got 0/],
  [{ topP: 2 }, /topP/],
  [{ minP: -0.1 }, /minP/],
  [{ repetitionPenalty: 0 }, /repetitionPenalty/],
  [{ seed: -1 }, /seed/],
])('refuses %j', (options, message) => {
  expect(() => new Sampler(options)).toThrow(message);
});

test.each<[string, string[], string[], string]>([
  ['within a piece', ['END'], ['one END two'], 'one '],
  ['across pieces', ['END'], ['one E', 'N', 'D two'], 'one '],
  ['a beginning that goes on otherwise', ['END'], ['one E', 'N', 'X'], 'one ENX'],
  ['held back at the end', ['END'], ['one E', 'N'], 'one EN'],
  ['the first of several', ['two', 'ne t'], ['one t', 'wo'], 'o'],
  ['one that begins with itself', ['aab'], ['aa', 'a', 'b'], 'a'],
])('stop strings: %s', (_, stops, pieces, expected) => {
  const filter = new StopFilter(stops);
  const shown = pieces.map((piece) => filter.push(piece)).join('');
  expect(shown + filter.end()).toBe(expected);
});

test('refuses an empty stop string', () => {
  expect(() => new StopFilter([''])).toThrow(/stop: expected strings that are not empty/);
});
