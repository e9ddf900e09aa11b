/**
 * Memory that is refused, at every allocation of an op, a layer, a decoder and a training step in turn: each time an
 * OutOfMemoryError, nothing is left behind, and the same call then gives the same bits.
 */
import {
  getNumThreads,
  memoryStats,
  OutOfMemoryError,
  Scope,
  setNumThreads,
  sum,
  type Tensor,
  tensor,
  zeros,
} from '../../lib';
import { Decoder } from '../../lib/decode';
import { defineFeedForward, defineLinear, type LinearSpec } from '../../lib/functional';
import { native } from '../../lib/native';
import { TransformerLM } from '../../lib/nn';
import { AdamW, Muon } from '../../lib/optim';
import { Trainer } from '../../lib/train';
import { Draw } from '../fuzz/draw';
import { Machine, noCounts } from '../fuzz/machine';
import { OPS } from '../fuzz/ops';
import { allocatedWithoutGarbage } from '../support/garbage';
import { TestRandom } from '../support/random';
import { SMALL } from '../support/structures';
import { CONFIG } from '../train/support';

const LONG = process.env.STRUCTURED_FFN_LONG === '1';

// A machine that may be busy.
jest.setTimeout(LONG ? 1_800_000 : 120_000);

const threads = getNumThreads();
beforeAll(() => setNumThreads(2));
// A refusal collects garbage, that of earlier tests too: the count would be of both.
beforeEach(async () => void (await allocatedWithoutGarbage()));
afterAll(() => setNumThreads(threads));

type Bits = readonly (readonly number[])[];
const bits = (...arrays: (ArrayLike<number> | null | undefined)[]): Bits => arrays.map((a) => Array.from(a ?? []));

interface Outcome<T> {
  readonly result?: T;
  readonly error?: unknown;
  /** Whether an allocation was refused. */
  readonly refused: boolean;
}

/** Runs `body` with its n-th allocation refused. */
async function refusing<T>(n: number, body: () => T | Promise<T>): Promise<Outcome<T>> {
  let outcome: Omit<Outcome<T>, 'refused'>;
  native.refuseAllocation(n);
  try {
    outcome = { result: await body() };
  } catch (error) {
    // Written out: until then an error keeps what its frames were methods of.
    void (error as Error).stack;
    outcome = { error };
  }
  return { ...outcome, refused: native.refuseAllocation(0) === 0 };
}

/** Bytes in use beyond `before`. The collector may need to be asked more than once for what the latest call had. */
async function leftAfter(before: number, left: 'nothing' | 'garbage'): Promise<number> {
  const bytes = () => memoryStats().allocated - before;
  for (let i = 0; left === 'garbage' && bytes() !== 0 && i < 5; i++) await allocatedWithoutGarbage();
  return bytes();
}

/**
 * Refuses each allocation of `body` once, or every `stride`-th of many. `left` is what a constructor that failed may leave to
 * the collector.
 * @returns how many there were.
 */
async function expectHarmless(
  body: () => Bits | Promise<Bits>,
  { left = 'nothing', stride = 1 }: { readonly left?: 'nothing' | 'garbage'; readonly stride?: number } = {},
): Promise<number> {
  const expected = await body();
  const before = left === 'garbage' ? await allocatedWithoutGarbage() : memoryStats().allocated;
  for (let n = 1; ; n += stride) {
    const { result, error, refused } = await refusing(n, body);
    if (!refused) {
      expect(result).toEqual(expected);
      return n - 1;
    }
    expect({ n, error }).toEqual({ n, error: expect.any(OutOfMemoryError) });
    expect({ n, left: await leftAfter(before, left) }).toEqual({ n, left: 0 });
    expect(await body()).toEqual(expected);
  }
}

/** Of calls that make hundreds of allocations and leave garbage. */
const MANY = { left: 'garbage', stride: LONG ? 1 : 17 } as const;

describe('ops, forward and backward', () => {
  test.each(Object.keys(OPS))('%s', async (name) => {
    for (let round = 0; round < (LONG ? 40 : 2); round++) {
      const machine = new Machine(noCounts());
      const random = new TestRandom(round + 1);
      const draw = new Draw(Array.from({ length: 40 }, () => random.int(0, 0xffff)));
      const { operands, call } = OPS[name]!(draw);
      if (operands.some(({ shape }) => shape.includes(0))) continue;
      const inputs = operands.map((operand) => machine.operand(draw, operand));
      for (const x of inputs) if (x.dtype === 'float32') x.requiresGrad = true;
      const allocations = await expectHarmless(() => {
        using _ = new Scope();
        try {
          const y = call(...inputs);
          const values = y.toArray();
          if (y.requiresGrad) sum(y).backward();
          return bits(values, ...inputs.map(({ grad }) => grad?.toArray()));
        } finally {
          for (const x of inputs) {
            x.grad?.dispose();
            x.grad = null;
          }
        }
      });
      expect(allocations).toBeGreaterThan(0);
      await machine.end();
    }
  });
});

describe('layers on raw arrays', () => {
  const specs = Object.entries(SMALL).map(
    ([structure, sizes]) =>
      ({ structure, inFeatures: 12, outFeatures: 12, activation: 'gelu', ...sizes }) as LinearSpec,
  );

  test.each(specs.map((spec) => [spec.structure, spec] as const))('%s', async (_, spec) => {
    const layer = defineLinear(spec);
    const random = new TestRandom(1);
    const array = (shape: readonly number[] | null) => shape && random.array(shape.reduce((n, s) => n * s, 1));
    const { v, u, bias, guide } = layer.shapes;
    const weights = { v: array(v), u: array(u)!, bias: array(bias), guide: array(guide), alpha: 0.25 };
    const inputs = { ...weights, x: random.array(12 * 40), dy: random.array(12 * 40) };
    await expectHarmless(() => {
      const { y, saved } = layer.forward(inputs, { training: true });
      const { dx, dv, du, dguide, dbias } = layer.backward({ ...inputs, saved });
      return bits(y, dx, dv, du, dguide, dbias);
    });
    const allocations = await expectHarmless(async () => {
      const { y, saved } = await layer.forwardAsync(inputs, { training: true });
      const { dx, dv, du, dguide, dbias } = await layer.backwardAsync({ ...inputs, saved });
      return bits(y, dx, dv, du, dguide, dbias);
    });
    expect(allocations).toBeGreaterThan(15);
  });

  test('a feedforward network', async () => {
    const [fc1, fc2] = [specs[1]!, specs[0]!].map(({ activation: _, ...spec }) => spec) as [LinearSpec, LinearSpec];
    const network = defineFeedForward({ fc1, fc2, activation: 'gelu' });
    const random = new TestRandom(1);
    const inputs = {
      x: random.array(12 * 40),
      dy: random.array(12 * 40),
      fc1: { v: random.array(60), u: random.array(60) },
      fc2: { u: random.array(144) },
    };
    const allocations = await expectHarmless(async () => {
      const { y, saved } = await network.forwardAsync(inputs, { training: true });
      const { dx, fc1, fc2 } = await network.backwardAsync({ ...inputs, saved });
      return bits(y, dx, fc1?.dv, fc1?.du, fc2?.du);
    });
    expect(allocations).toBeGreaterThan(15);
  });
});

const MODEL = {
  vocabSize: 29,
  dModel: 12,
  nLayers: 2,
  nHeads: 2,
  seqLen: 80,
  ffn: { structure: 'lowrank', rank: 3 },
} as const;

describe('decoding', () => {
  const prompt = Array.from({ length: 40 }, (_, i) => (i * 7) % 29);

  test.each(['float32', 'bfloat16', 'int8'] as const)('a decoder of %s, from its making to its end', async (dtype) => {
    const model = new TransformerLM(MODEL);
    for (const dispatch of ['factored', 'merged'] as const)
      await expectHarmless(async () => {
        using decoder = new Decoder(model, { dtype, dispatch });
        using sequence = decoder.sequence();
        return bits(await decoder.prefill(sequence, prompt), ...(await decoder.step([{ sequence, ids: [1] }])));
      }, MANY);
    model.dispose();
  });

  test('a step that failed leaves its sequence as it was', async () => {
    const model = new TransformerLM(MODEL);
    using decoder = new Decoder(model, { dtype: 'bfloat16', cacheDtype: 'bfloat16' });
    using other = decoder.sequence();
    const expected = await decoder.prefill(other, prompt);
    for (let n = 1, more = true; more; n++) {
      using sequence = decoder.sequence();
      const { refused, error } = await refusing(n, () => decoder.prefill(sequence, prompt));
      if (refused) {
        expect(error).toBeInstanceOf(OutOfMemoryError);
        expect(sequence.length).toBe(0);
        expect(await decoder.prefill(sequence, prompt)).toEqual(expected);
      }
      more = refused;
    }
    model.dispose();
  });
});

describe('training', () => {
  const parametersOf = (model: TransformerLM) => bits(...[...model.namedParameters().values()].map((t) => t.toArray()));

  test.each([
    ['AdamW', (model: TransformerLM) => new AdamW(model)],
    ['Muon', (model: TransformerLM) => new Muon(model)],
  ] as const)('a model and %s, from their making to their end', async (_, create) => {
    await expectHarmless(() => {
      using _ = new Scope();
      const model = new TransformerLM({ ...MODEL, nLayers: 1, seqLen: 8 });
      const optimizer = create(model);
      const ids = tensor(new Int32Array(16).fill(3), [2, 8]);
      model.loss(ids, ids).backward(null, { releaseGraph: true });
      optimizer.step({ lr: 1e-2, maxGradNorm: 1 });
      optimizer.zeroGrad();
      const after = parametersOf(model);
      optimizer.dispose();
      model.dispose();
      return after;
    }, MANY);
  });

  test('a step of a trainer that failed is taken again as if it had not been', async () => {
    const reference = new Trainer({ ...CONFIG, guidance: { part: 0.9 } });
    const reports = [await reference.takeStep(), await reference.takeStep()].map(({ loss }) => loss);
    const expected = parametersOf(reference.model);
    reference[Symbol.dispose]();
    for (let n = 1, more = true; more; n += LONG ? 1 : 11) {
      using trainer = new Trainer({ ...CONFIG, guidance: { part: 0.9 } });
      const { refused, error, result } = await refusing(n, () => trainer.takeStep());
      if (refused) expect({ n, error }).toEqual({ n, error: expect.any(OutOfMemoryError) });
      // The update may have been made when its loss could not be read any more: then it counts.
      const first = trainer.step === 1 ? (result?.loss ?? reports[0]) : (await trainer.takeStep()).loss;
      const second = (await trainer.takeStep()).loss;
      expect({ n, losses: [first, second] }).toEqual({ n, losses: reports });
      expect(parametersOf(trainer.model)).toEqual(expected);
      more = refused;
    }
  });
});

test('the count of allocations says what was left of it', () => {
  native.refuseAllocation(3);
  zeros([1]).dispose();
  expect(native.refuseAllocation(0)).toBe(2);
  const unused: Tensor = zeros([1]);
  unused.dispose();
  expect(native.refuseAllocation(0)).toBe(0);
});
