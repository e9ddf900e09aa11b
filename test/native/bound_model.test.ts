/** A model that is bound for decode_step: what is checked then and what at each step, and whose its weights are. */
import { availableDevices, type Device, memoryStats } from '../../lib';
import { type CacheDType, PAGE_TOKENS } from '../../lib/decode/cache';
import type { WeightDType } from '../../lib/decode/matrix';
import { DecoderModel } from '../../lib/decode/model';
import { deviceCode, kindOf } from '../../lib/device';
import type { ElementType } from '../../lib/dtype';
import { asyncKernels, kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import type { TransformerConfig } from '../../lib/nn';
import { Storage } from '../../lib/storage';
import type { Handle, Kernels, NativeModel } from '../../types/native';
import { STRUCTURES, smallModel } from '../decode/support';

/** Whether the weight may be left out: biases and learned positions. The order is native/kernels.def's. */
const isOptional = (place: number): boolean =>
  place < 7 ? [3, 6].includes(place) : [1, 6, 11, 13, 18, 23].includes((place - 7) % 26);

/** The operands of a model, and what a step on them needs beside. */
/** What a step is given beside its model. */
interface Step {
  readonly pages: readonly Storage[];
  readonly numbers: readonly number[];
  readonly newIds: readonly number[];
}

class Fixture implements Disposable {
  readonly weights: readonly (Handle | null)[];
  readonly shape: Int32Array;
  readonly #of: DecoderModel;
  readonly #page: Storage;
  readonly #logits: Storage;

  constructor(
    readonly device: Device,
    overrides: Partial<TransformerConfig> = {},
    dtype: WeightDType = 'float32',
  ) {
    const ffn = STRUCTURES.lowrank;
    const model = smallModel({ ffn, learnedPositions: true, tieEmbeddings: false, ...overrides }).to(device);
    this.#of = new DecoderModel(model, dtype);
    const { weights, shape } = this.#of.operands(() => 'factored');
    [this.weights, this.shape] = [weights, shape];
    this.#page = this.page('float32');
    this.#logits = new Storage(model.config.vocabSize, 'float32', device);
  }

  bind(weights: readonly (Handle | null)[] = this.weights, shape: Int32Array = this.shape): NativeModel {
    return native.bindModel(weights, shape, 1e-5, 10_000);
  }

  page(dtype: CacheDType): Storage {
    return new Storage(this.#of.cacheElements * PAGE_TOKENS, dtype, this.device);
  }

  /** Of a text of one token by default. */
  stepOf<R>({ decode_step }: Kernels<R>, model: NativeModel, step: Partial<Step> = {}): R {
    const { pages = [this.#page], numbers = [0, 1, 1, 0], newIds = [3] } = step;
    const [ids, sequences] = [Int32Array.from(newIds), Int32Array.from(numbers)];
    return decode_step({ model, pages: pages.map(({ handle }) => handle), ids, sequences, logits: this.#logits });
  }

  logits(): Float32Array {
    return this.#logits.toArray();
  }

  step(model: NativeModel): Float32Array {
    this.stepOf(kernels, model);
    return this.logits();
  }

  async stepAsync(model: NativeModel): Promise<Float32Array> {
    await this.stepOf(asyncKernels, model);
    return this.logits();
  }

  [Symbol.dispose](): void {
    this.#of.dispose();
    this.#page.dispose();
    this.#logits.dispose();
  }
}

const refusal = (code: string, message: string) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

describe.each(availableDevices())('on %s', (device) => {
  const made: Storage[] = [];
  const buffer = (length: number, element: ElementType): Handle => {
    made.push(new Storage(length, element, device));
    return made.at(-1)!.handle;
  };
  afterEach(() => {
    for (const one of made.splice(0)) one.dispose();
  });

  test.each(['float32', 'bfloat16', 'int8'] as const)(
    'steps of %s weights are the same called directly, as jobs, and bound again',
    async (dtype) => {
      using fixture = new Fixture(device, {}, dtype);
      const model = fixture.bind();
      const first = fixture.step(model);
      expect(first.every(Number.isFinite)).toBe(true);
      for (const other of [model, fixture.bind(), model]) {
        expect(fixture.step(other)).toEqual(first);
        expect(await fixture.stepAsync(other)).toEqual(first);
      }
    },
  );

  test('a weight of another type or size, or left out, is refused by its place', () => {
    using fixture = new Fixture(device, device === 'cpu' ? { qkNorm: true } : {});
    const integers = native.allocate(16, 1, deviceCode(device));
    const few = buffer(5, 'float32');
    for (const [place, weight] of fixture.weights.entries()) {
      const binding = (fresh: Handle | null) => () => fixture.bind(fixture.weights.with(place, fresh));
      const refused = (code: string, what: string) =>
        refusal(code, `^bindModel: weights\\[${place}\\]: expected ${what}$`);
      expect(binding(integers)).toThrow(refused('ERR_DTYPE', '.*, got int32'));
      expect(binding(few)).toThrow(refused('ERR_ARGUMENT', '\\d+ elements, got 5'));
      if (weight === null || isOptional(place)) expect(binding(null)).not.toThrow();
      else expect(binding(null)).toThrow(refusal('ERR_ARGUMENT', 'expected .*, got '));
    }
    native.release(integers);
  });

  test('vectors are float32; scales belong to int8, one for each row', () => {
    using floats = new Fixture(device);
    expect(() => floats.bind(floats.weights.with(2, buffer(24, 'bfloat16')))).toThrow(
      /weights\[2\]: expected float32, got bfloat16/,
    );
    expect(() => floats.bind(floats.weights.with(1, buffer(37, 'float32')))).toThrow(
      /weights\[1\]: expected 0 elements, got 37/,
    );
    using bytes = new Fixture(device, {}, 'int8');
    expect(() => bytes.bind(bytes.weights.with(1, null))).toThrow(/weights\[1\]: expected 37 elements, got 0/);
  });

  test('sizes that do not fit together are refused', () => {
    using fixture = new Fixture(device);
    const { shape, weights } = fixture;
    for (const place of shape.keys()) {
      // Norm and activations are codes, and the tokens in a page are no weight's size.
      const isInner = place >= 10 && (place - 10) % 7 === 6;
      const wrong = isInner ? 4 : ({ 6: 2, 7: 5, 8: 0, 9: 2 }[place] ?? shape[place]! + 1);
      expect(() => fixture.bind(weights, shape.with(place, wrong))).toThrow(refusal('ERR_ARGUMENT', '^bindModel: '));
      expect(() => fixture.bind(weights, shape.with(place, -1))).toThrow(refusal('ERR_ARGUMENT', '^bindModel: '));
    }
    expect(() => fixture.bind(weights, shape.slice(0, 5))).toThrow(/shape: expected 10 entries, got 5 entries/);
    expect(() => fixture.bind(weights, shape.slice(1))).toThrow(refusal('ERR_ARGUMENT', '^bindModel: '));
    expect(() => fixture.bind(weights.slice(1))).toThrow(/weights: expected 59 entries, got 58 entries/);
  });

  test('a weight that was disposed is refused, and its memory is free', () => {
    using fixture = new Fixture(device, {}, 'bfloat16');
    const model = fixture.bind();
    fixture.step(model);
    const before = memoryStats(device).allocated;
    native.release(fixture.weights[0]!);
    expect(memoryStats(device).allocated).toBeLessThan(before);
    for (const use of [() => fixture.step(model), () => fixture.stepOf(asyncKernels, model)])
      expect(use).toThrow(refusal('ERR_DISPOSED', '^model: a weight was disposed or replaced$'));
    expect(() => fixture.bind()).toThrow(refusal('ERR_DISPOSED', '^tensor: it was disposed$'));
  });

  test('pages are of one type; on the CPU it may be bfloat16', () => {
    using fixture = new Fixture(device);
    using floats = fixture.page('float32');
    using halves = fixture.page('bfloat16');
    const step = (...pages: Storage[]) => fixture.stepOf(kernels, fixture.bind(), { pages });
    expect(() => step(floats, halves)).toThrow(
      refusal('ERR_DTYPE', '^decode_step: pages: expected float32, got bfloat16$'),
    );
    if (device === 'cpu') expect(() => step(halves)).not.toThrow();
    else expect(() => step(halves)).toThrow(refusal('ERR_OPTION', "not supported on device 'cuda'$"));
  });

  test('a step under way owns its weights', async () => {
    using fixture = new Fixture(device, {}, 'int8');
    const expected = fixture.step(fixture.bind());
    const jobs = Array.from({ length: 20 }, () => fixture.stepOf(asyncKernels, fixture.bind()));
    for (const weight of fixture.weights) if (weight !== null) native.release(weight);
    await Promise.all(jobs);
    expect(fixture.logits()).toEqual(expected);
  });

  test.each<[string, number[], number[], string]>([
    ['a number missing', [0, 1], [3], 'a sequence without its three numbers'],
    ['a page missing', [0, 1, 1], [3], 'a sequence without its pages'],
    ['a page that is not there', [0, 1, 1, 1], [3], 'a page that is not there'],
    ['a page below zero', [0, 1, 1, -1], [3], 'a page that is not there'],
    ['tokens below zero', [-1, 1, 1, 0], [3], 'a sequence longer than the context'],
    ['more tokens than positions', [2 ** 31 - 1, 1, 1, 0], [3], 'a sequence longer than the context'],
    ['a count below zero', [1, -1, 0, 0], [3], 'a sequence longer than the context'],
    ['fewer ids', [0, 2, 1, 0], [3], 'more new tokens than ids'],
    ['more ids', [0, 1, 1, 0], [3, 3], 'more ids than new tokens'],
    ['rows of no token', [0, 1, 2, 0], [3], 'more rows of logits than new tokens'],
    ['rows below zero', [0, 1, -1, 0], [3], 'more rows of logits than new tokens'],
    ['rows without room', [0, 2, 2, 0], [3, 3], 'more rows of logits than there is room for'],
    ['an id beyond the vocabulary', [0, 1, 1, 0], [37], 'id 37 is not in the vocabulary of 37'],
    ['an id below zero', [0, 1, 1, 0], [-1], 'id -1 is not in the vocabulary of 37'],
  ])('a step with %s is refused', async (_, numbers, newIds, message) => {
    using fixture = new Fixture(device);
    const model = fixture.bind();
    expect(() => fixture.stepOf(kernels, model, { numbers, newIds })).toThrow(refusal('ERR_RANGE', message));
    const job = async () => fixture.stepOf(asyncKernels, model, { numbers, newIds });
    await expect(job()).rejects.toThrow(refusal('ERR_RANGE', message));
  });

  test('a page that is too small is refused', () => {
    using fixture = new Fixture(device);
    const model = fixture.bind();
    const operands = { model, ids: Int32Array.of(3), sequences: Int32Array.of(0, 1, 0, 0), logits: null };
    const step = () => kernels.decode_step({ ...operands, pages: [buffer(16, 'float32')] });
    expect(step).toThrow(refusal('ERR_RANGE', 'a page that is too small'));
  });

  test('what is no model is refused', () => {
    using fixture = new Fixture(device);
    const others: unknown[] = [null, undefined, 1, {}, fixture.weights];
    if (kindOf(device) === 'cuda') {
      native.beginRecording(deviceCode(device));
      others.push(native.endRecording());
    }
    for (const other of others)
      expect(() => fixture.step(other as NativeModel)).toThrow(refusal('ERR_ARGUMENT', 'expected a model'));
  });

  if (kindOf(device) !== 'cpu')
    test('int8 rows are refused', () => {
      using fixture = new Fixture(device, {}, 'int8');
      const bind = () => fixture.bind(fixture.weights, fixture.shape.with(9, 1));
      expect(bind).toThrow(refusal('ERR_DEVICE', '^bindModel: rows are rounded to int8 only on the CPU$'));
    });

  if (device !== 'cpu')
    test('everything is on one device', () => {
      using fixture = new Fixture(device);
      using here = new Fixture('cpu');
      const there = () => fixture.bind(fixture.weights.with(2, here.weights[2]!));
      expect(there).toThrow(refusal('ERR_DEVICE', 'weights on several devices'));
      expect(() => fixture.step(here.bind())).toThrow(refusal('ERR_DEVICE', '^decode_step: operands on'));
    });
});
