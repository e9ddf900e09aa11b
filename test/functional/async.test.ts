/** The asynchronous calls: the same bits, a free event loop, and no harm from what the caller does meanwhile. */
import { memoryStats } from '../../lib/device';
import { defineFeedForward, defineLinear, type LinearSpec } from '../../lib/functional';
import { allocatedWithoutGarbage, withSpareMemory } from '../support/garbage';
import { randomLayer, TestRandom } from './layers';

const SPEC: LinearSpec = {
  structure: 'blockshuffle',
  inFeatures: 256,
  outFeatures: 512,
  nblocks: 4,
  activation: 'silu',
};
const TOKENS = 64;

function setup() {
  const random = new TestRandom(6);
  const { arrays } = randomLayer(SPEC, random);
  const layer = defineLinear(SPEC);
  const x = random.array(TOKENS * SPEC.inFeatures);
  const dy = random.array(TOKENS * SPEC.outFeatures);
  return { layer, arrays, x, dy, inputs: { x, ...arrays } };
}

function transfer(array: Float32Array): void {
  const buffer = array.buffer as ArrayBuffer;
  structuredClone(buffer, { transfer: [buffer] });
}

test('forward and backward give the same bits as the synchronous calls', async () => {
  const { layer, inputs, dy } = setup();
  const expected = layer.forward(inputs, { training: true });
  const result = await layer.forwardAsync(inputs, { training: true });
  expect(result).toEqual(expected);
  expect(await layer.backwardAsync({ dy, ...inputs, saved: result.saved })).toEqual(
    layer.backward({ dy, ...inputs, saved: expected.saved }),
  );
});

test('a network gives the same bits, into the arrays of the caller', async () => {
  const fc1: LinearSpec = { structure: 'lowrank', inFeatures: 24, outFeatures: 96, rank: 8 };
  const fc2: LinearSpec = { structure: 'blockdense', inFeatures: 96, outFeatures: 24, rank: 8, nblocks: 4 };
  const random = new TestRandom(7);
  const inputs = {
    x: random.array(5 * 24),
    fc1: randomLayer(fc1, random).arrays,
    fc2: randomLayer(fc2, random).arrays,
  };
  const dy = random.array(5 * 24);
  const network = defineFeedForward({ fc1, fc2, activation: 'gelu' });
  const out = { y: new Float32Array(5 * 24) };
  const { y, saved } = await network.forwardAsync(inputs, { training: true, out });
  expect(y).toBe(out.y);
  expect({ y, saved }).toEqual(network.forward(inputs, { training: true }));
  expect(await network.backwardAsync({ dy, ...inputs, saved })).toEqual(network.backward({ dy, ...inputs, saved }));
});

test('what the caller writes after the call does not reach the job', async () => {
  const { layer, inputs, x } = setup();
  const expected = layer.forward(inputs).y;
  const pending = layer.forwardAsync(inputs);
  x.fill(Number.NaN);
  expect((await pending).y).toEqual(expected);
});

test('many jobs at once each get their own result', async () => {
  const { layer, inputs, arrays } = setup();
  const xs = Array.from({ length: 12 }, (_, i) => inputs.x.map((value) => value * (i + 1)));
  const results = await Promise.all(xs.map((x) => layer.forwardAsync({ x, ...arrays })));
  expect(results.map(({ y }) => y)).toEqual(xs.map((x) => layer.forward({ x, ...arrays }).y));
});

test('the event loop runs while a job does', async () => {
  const layer = defineLinear({ structure: 'dense', inFeatures: 1024, outFeatures: 1024 });
  const inputs = { x: new Float32Array(2048 * 1024).fill(0.5), u: new Float32Array(1024 * 1024).fill(0.25) };
  let done = false;
  let turns = 0;
  const pending = layer.forwardAsync(inputs).finally(() => {
    done = true;
  });
  while (!done) {
    turns++;
    await new Promise(setImmediate);
  }
  await pending;
  expect(turns).toBeGreaterThan(3);
});

describe('memory that changes hands meanwhile', () => {
  const error = expect.objectContaining({ code: 'ERR_DISPOSED', message: expect.stringContaining('transferred away') });

  test('an input', async () => {
    const { layer, inputs, x } = setup();
    const pending = layer.forwardAsync(inputs);
    transfer(x);
    await expect(pending).rejects.toEqual(error);
  });

  test('an array for the result', async () => {
    const { layer, inputs } = setup();
    const y = new Float32Array(TOKENS * SPEC.outFeatures);
    const pending = layer.forwardAsync(inputs, { out: { y } });
    transfer(y);
    await expect(pending).rejects.toEqual(error);
  });

  test('shared memory is refused', async () => {
    const { layer, arrays } = setup();
    const x = new Float32Array(new SharedArrayBuffer(4 * SPEC.inFeatures));
    await expect(layer.forwardAsync({ x, ...arrays })).rejects.toEqual(
      expect.objectContaining({ code: 'ERR_OPTION', message: expect.stringContaining('SharedArrayBuffer') }),
    );
  });
});

describe('native memory', () => {
  test('is given back after success and after every kind of failure', async () => {
    const { layer, inputs, x, arrays, dy } = setup();
    const { saved } = await layer.forwardAsync(inputs, { training: true });
    const before = await allocatedWithoutGarbage();
    await layer.backwardAsync({ dy, ...inputs, saved });
    await expect(layer.forwardAsync({ x: x.subarray(1), ...arrays })).rejects.toThrow();
    const pending = layer.forwardAsync({ ...inputs, x: x.slice() });
    await withSpareMemory(1000, 'cpu', () =>
      expect(layer.forwardAsync(inputs)).rejects.toEqual(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' })),
    );
    await Promise.allSettled([pending]);
    const detached = x.slice();
    const rejected = layer.forwardAsync({ ...inputs, x: detached });
    transfer(detached);
    await expect(rejected).rejects.toThrow();
    expect(memoryStats().allocated).toBe(before);
    expect(saved).toBeDefined(); // in use until here: a refusal would free it
  });

  test('too little of it is an error, and the next call works', async () => {
    const { layer, inputs } = setup();
    const expected = layer.forward(inputs).y;
    const error = expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' });
    await withSpareMemory(1000, 'cpu', async () => {
      await expect(layer.forwardAsync(inputs)).rejects.toEqual(error);
      expect(() => layer.forward(inputs)).toThrow(error);
    });
    expect((await layer.forwardAsync(inputs)).y).toEqual(expected);
    expect(layer.forward(inputs).y).toEqual(expected);
  });
});
