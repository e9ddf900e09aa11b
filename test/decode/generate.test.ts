import { Decoder, generate, generateBatch, generateText } from '../../lib/decode';
import { memoryStats } from '../../lib/device';
import { ByteTokenizer } from '../../lib/text';
import { allocatedWithoutGarbage } from '../support/garbage';
import { fullLogits, randomIds, STRUCTURES, smallModel } from './support';

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

const model = smallModel({ ffn: STRUCTURES.lowrank, nKvHeads: 2 });

/** What greedy generation is, by the whole forward each time. */
function greedy(prompt: readonly number[], count: number): number[] {
  const ids = [...prompt];
  for (let i = 0; i < count; i++) {
    const logits = fullLogits(model, ids).pop()!;
    ids.push(logits.indexOf(Math.max(...logits)));
  }
  return ids.slice(prompt.length);
}

test('greedy generation follows the whole forward', async () => {
  using decoder = new Decoder(model, { prefillChunk: 5 });
  const prompt = randomIds(12, 1);
  const options = { temperature: 0, maxNewTokens: 30 };
  expect(await all(generate(decoder, prompt, options))).toEqual(greedy(prompt, 30));
});

test('a batch of prompts gives each what it gets alone', async () => {
  using decoder = new Decoder(model);
  const prompts = [randomIds(40, 1), randomIds(2, 2), randomIds(9, 3)];
  const options = { temperature: 0.7, topK: 8, maxNewTokens: 20, seed: 4 };
  const together = await all(generateBatch(decoder, prompts, options));
  for (const [index, prompt] of prompts.entries()) {
    const alone = await all(generate(decoder, prompt, { ...options, seed: 4 + index }));
    expect(together.filter((token) => token.index === index).map(({ id }) => id)).toEqual(alone);
  }
});

test('leaves nothing to be collected, between tokens or after the decoder', async () => {
  const allocated = await allocatedWithoutGarbage();
  const decoder = new Decoder(model);
  const during: number[] = [];
  for await (const _ of generate(decoder, randomIds(20, 7), { maxNewTokens: 9 })) during.push(memoryStats().allocated);
  expect(new Set(during.slice(1)).size).toBe(1); // a page of 32 tokens holds them all
  decoder.dispose();
  expect(memoryStats().allocated).toBe(allocated);
});

test('goes on when the context is full, from its later half', async () => {
  using decoder = new Decoder(model);
  const prompt = randomIds(60, 5);
  const made = await all(generate(decoder, prompt, { temperature: 0, maxNewTokens: 30 }));
  expect(made).toHaveLength(30);
  // 70 tokens of context are full with 10 new ones cached; the 11th is the first of the new cache of 35.
  expect(made.slice(0, 11)).toEqual(greedy(prompt, 11));
  const kept = [...prompt, ...made.slice(0, 11)].slice(-35);
  expect(made.slice(11)).toEqual(greedy(kept, 19));
});

test('ends before the stop id, and after maxNewTokens', async () => {
  using decoder = new Decoder(model);
  const prompt = randomIds(12, 1);
  const made = greedy(prompt, 30);
  const stopId = made[17]!;
  const options = { temperature: 0, maxNewTokens: 30, stopId };
  expect(await all(generate(decoder, prompt, options))).toEqual(made.slice(0, made.indexOf(stopId)));
  expect(await all(generate(decoder, prompt, { ...options, maxNewTokens: 0 }))).toEqual([]);
});

test('text in pieces, up to a stop string', async () => {
  const bytes = smallModel({ vocabSize: 257 });
  using decoder = new Decoder(bytes);
  const options = { maxNewTokens: 40, seed: 2, temperature: 0.3 };
  const text = (await all(generateText(decoder, new ByteTokenizer(), 'abc', options))).join('');
  expect(text.length).toBeGreaterThan(5);
  const stop = [...text].slice(4, 6).join('');
  const unset = { ...options, stopId: undefined };
  expect((await all(generateText(decoder, new ByteTokenizer(), 'abc', unset))).join('')).toBe(text);
  const wrong = { ...options, stop: 'x' as never };
  await expect(all(generateText(decoder, new ByteTokenizer(), 'abc', wrong))).rejects.toThrow('generate: stop');
  const stopped = await all(generateText(decoder, new ByteTokenizer(), 'abc', { ...options, stop: [stop] }));
  expect(stopped.join('')).toBe(text.slice(0, text.indexOf(stop)));
});

describe('what is refused, and what stays usable', () => {
  test.each<[string, number[], string, RegExp]>([
    ['an empty prompt', [], 'ERR_OPTION', /generate: prompt: expected at least one token, got 'none'/],
    ['a prompt longer than the context', randomIds(71, 1), 'ERR_OPTION', /expected at most 70 tokens.*got 71/],
    ['an unknown token', [1, 37], 'ERR_RANGE', /expected ids below 37, got 37/],
    ['a negative token', [-1], 'ERR_RANGE', /got -1/],
    ['half a token', [0.5], 'ERR_RANGE', /got 0.5/],
  ])('%s', async (_, prompt, code, message) => {
    const own = new Decoder(model);
    await expect(all(generate(own, prompt))).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(await all(generate(own, [1], { maxNewTokens: 2 }))).toHaveLength(2);
    own.dispose();
  });

  test('a cancelled generation gives its pages back', async () => {
    const own = new Decoder(model);
    const controller = new AbortController();
    const made: number[] = [];
    const run = async () => {
      for await (const id of generate(own, randomIds(40, 1), { signal: controller.signal, maxNewTokens: 25 })) {
        made.push(id);
        if (made.length === 3) controller.abort();
      }
    };
    await expect(run()).rejects.toThrow(/aborted/);
    expect(made).toHaveLength(3);
    const before = own.stats().cacheBytes;
    expect(await all(generate(own, randomIds(40, 1), { maxNewTokens: 5 }))).toHaveLength(5);
    expect(own.stats().cacheBytes).toBe(before);
    await expect(all(generate(own, [1], { signal: AbortSignal.abort() }))).rejects.toThrow(/aborted/);
    own.dispose();
  });

  test('a step that is refused leaves its sequences as they were', async () => {
    const own = new Decoder(model);
    using sequence = own.sequence();
    await own.step([{ sequence, ids: randomIds(69, 1) }]);
    await expect(own.step([{ sequence, ids: [1, 2] }])).rejects.toThrow(/at most 1 more tokens in a context of 70/);
    await expect(own.step([{ sequence, ids: [] }])).rejects.toThrow(/at least one token/);
    await expect(own.step([{ sequence, ids: [1], logits: 2 }])).rejects.toThrow(/at most 1 rows/);
    expect(sequence.length).toBe(69);
    await own.step([{ sequence, ids: [1] }]);
    expect(sequence.length).toBe(70);
    own.dispose();
    await expect(own.step([{ sequence, ids: [1] }])).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
  });

  test('a stop id that is none', async () => {
    using decoder = new Decoder(model);
    for (const stopId of ['a', -1, 1.5, Number.NaN]) {
      const tokens = generate(decoder, [1], { stopId: stopId as number });
      await expect(tokens.next()).rejects.toThrow('generate: stopId: expected a whole number of at least 0');
    }
  });

  test('options', () => {
    const wrong = (options: object) => () => new Decoder(model, options);
    expect(wrong({ dtype: 'int4' })).toThrow(/dtype: expected one of float32, bfloat16, int8/);
    expect(wrong({ cacheDtype: 'int8' })).toThrow(/decoder: cacheDtype: expected one of float32, bfloat16, got/);
    expect(wrong({ dispatch: 'best' })).toThrow(/dispatch/);
    expect(wrong({ dispatch: 'auto' })).toThrow(/table/);
    expect(wrong({ prefillChunk: 0 })).toThrow(/prefillChunk/);
    expect(wrong({ mergeBudget: -1 })).toThrow(/mergeBudget/);
  });
});
