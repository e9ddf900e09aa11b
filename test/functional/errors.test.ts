/** Bad input: each gives its typed error, synchronously and asynchronously, and the next call works. */
import {
  defineFeedForward,
  defineLinear,
  type FeedForwardInputs,
  type FeedForwardSpec,
  type LinearBackwardInputs,
  type LinearInputs,
  type LinearSpec,
} from '../../lib/functional';

/** What a caller without type checking could pass. */
type Loose = Record<string, unknown>;
const loosely = <T>(value: Loose): T => value as T;

const floats = (length: number) => new Float32Array(length).fill(0.5);

function detached(length: number): Float32Array {
  const array = floats(length);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

/** ES2024's constructor option, which this version of the type library does not know. */
const ResizableBuffer = ArrayBuffer as unknown as new (bytes: number, options: object) => ArrayBuffer;
const resizable = (length: number) => new Float32Array(new ResizableBuffer(4 * length, { maxByteLength: 8 * length }));

const good: LinearSpec = { structure: 'lowrank', inFeatures: 4, outFeatures: 6, rank: 2, activation: 'gelu' };
const inputs = (): Loose => ({ x: floats(8), v: floats(8), u: floats(12), bias: floats(6) });

describe('specifications', () => {
  test.each<[string, Loose, string, RegExp]>([
    ['an unknown structure', { structure: 'sparse' }, 'ERR_OPTION', /structure: expected one of dense, lowrank/],
    ['NaN features', { inFeatures: Number.NaN }, 'ERR_OPTION', /inFeatures: expected a whole number .* got NaN/],
    ['no features', { outFeatures: 0 }, 'ERR_OPTION', /outFeatures/],
    ['fractional features', { inFeatures: 2.5 }, 'ERR_OPTION', /inFeatures/],
    ['features as text', { inFeatures: '4' }, 'ERR_OPTION', /got '4'/],
    ['no rank', { rank: undefined }, 'ERR_OPTION', /expected either ratio or rank, got 'none of them'/],
    ['an infinite rank', { rank: Number.POSITIVE_INFINITY }, 'ERR_OPTION', /rank/],
    ['blocks for lowrank', { nblocks: 2 }, 'ERR_OPTION', /nblocks: expected none for lowrank/],
    ['a rank for dense', { structure: 'dense' }, 'ERR_OPTION', /rank: expected none for dense/],
    [
      'an unknown inner activation',
      { innerActivation: 'swiglu' },
      'ERR_OPTION',
      /innerActivation: expected one of none/,
    ],
    [
      'an inner activation of dense',
      { structure: 'dense', rank: undefined, innerActivation: 'relu' },
      'ERR_OPTION',
      /innerActivation: expected none for dense/,
    ],
    ['an unknown activation', { activation: 'mish' }, 'ERR_OPTION', /activation/],
    ['swiglu of an odd width', { outFeatures: 5, activation: 'swiglu' }, 'ERR_SHAPE', /even number/],
    ['blockdense without blocks', { structure: 'blockdense' }, 'ERR_OPTION', /nblocks/],
    [
      'blocks that do not divide the rank',
      { structure: 'blockdense', nblocks: 4 },
      'ERR_OPTION',
      /divisor of inFeatures \(4\) and rank \(2\)/,
    ],
    [
      'blocks that do not divide inFeatures',
      { structure: 'blockshuffle', rank: 3, nblocks: 3 },
      'ERR_OPTION',
      /inFeatures \(4\)/,
    ],
    [
      'blocks that do not divide outFeatures',
      { structure: 'blockshuffle', rank: 4, nblocks: 4 },
      'ERR_OPTION',
      /outFeatures \(6\)/,
    ],
    ['a rank that the structure cannot use', { rank: 5 }, 'ERR_OPTION', /rank: expected at most 4, got 5/],
    ['a ratio beside the rank', { ratio: 0.5 }, 'ERR_OPTION', /either ratio or rank, got 'rank and ratio'/],
    ['shapes of nothing', { v: [0, 4], u: [6, 0] }, 'ERR_SHAPE', /v: expected sizes of at least 1, got \[0, 4\]/],
    ['shapes that are none', { v: null, u: 7 }, 'ERR_OPTION', /u: expected a shape of whole numbers, got 7/],
    ['three block counts', { structure: 'blockshuffle', nblocks: [1, 2, 3] }, 'ERR_OPTION', /pair/],
  ])('%s', (_, change, code, message) => {
    expect(() => defineLinear(loosely({ ...good, ...change }))).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test.each([null, undefined, 7, 'dense'])('%s instead of a specification', (value) => {
    expect(() => defineLinear(value as unknown as LinearSpec)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }));
    expect(() => defineFeedForward(value as unknown as FeedForwardSpec)).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION' }),
    );
  });

  test('layers of a network that do not fit each other', () => {
    const fc1: LinearSpec = { structure: 'dense', inFeatures: 4, outFeatures: 16 };
    const fc2: LinearSpec = { structure: 'dense', inFeatures: 16, outFeatures: 4 };
    expect(defineFeedForward({ fc1, fc2, activation: 'gelu' }).macs).toBe(128);
    expect(() => defineFeedForward({ fc1, fc2, activation: 'swiglu' })).toThrow(
      expect.objectContaining({ code: 'ERR_SHAPE', message: expect.stringContaining('8 input features, got 16') }),
    );
  });
});

const BAD_INPUTS: [string, Loose, string, RegExp][] = [
  [
    'no x',
    { x: undefined },
    'ERR_DTYPE',
    /x: expected a Float32Array or a Uint16Array of bfloat16 bits, got Undefined/,
  ],
  ['a plain array', { x: [1, 2, 3, 4] }, 'ERR_DTYPE', /x: expected a Float32Array or .*, got Array/],
  ['float64', { u: new Float64Array(12) }, 'ERR_DTYPE', /u: expected a Float32Array, got Float64Array/],
  ['integers', { v: new Int32Array(8) }, 'ERR_DTYPE', /v: expected a Float32Array, got Int32Array/],
  ['a DataView', { x: new DataView(new ArrayBuffer(32)) }, 'ERR_DTYPE', /got DataView/],
  [
    'an impostor',
    { x: { length: 8, [Symbol.toStringTag]: 'Float32Array' } },
    'ERR_DTYPE',
    /x: expected a Float32Array/,
  ],
  ['part of a row', { x: floats(7) }, 'ERR_SHAPE', /x: expected one or more rows of 4 features, got 7 elements/],
  ['no rows', { x: floats(0) }, 'ERR_SHAPE', /got 0 elements/],
  ['a short factor', { v: floats(7) }, 'ERR_SHAPE', /v: expected 8 elements, got 7/],
  ['a missing factor', { v: undefined }, 'ERR_DTYPE', /v: expected a Float32Array/],
  ['a long bias', { bias: floats(7) }, 'ERR_SHAPE', /bias: expected 6 elements, got 7/],
  ['a detached x', { x: detached(8) }, 'ERR_DISPOSED', /x: the memory of the array was transferred away/],
  ['a detached weight', { u: detached(12) }, 'ERR_DISPOSED', /u: the memory/],
  ['resizable memory', { x: resizable(8) }, 'ERR_OPTION', /x: expected memory of a fixed size/],
  ['a guide without alpha', { guide: floats(24) }, 'ERR_OPTION', /alpha: expected a number from 0 to 1/],
  ['a NaN alpha', { guide: floats(24), alpha: Number.NaN }, 'ERR_OPTION', /alpha/],
  ['an alpha above 1', { guide: floats(24), alpha: 1.5 }, 'ERR_OPTION', /alpha/],
  ['alpha without a guide', { alpha: 0.5 }, 'ERR_OPTION', /alpha: expected none without a guide/],
  ['a guide of another size', { guide: floats(23), alpha: 0.5 }, 'ERR_SHAPE', /guide: expected 24 elements/],
];

describe.each(BAD_INPUTS)('%s', (_, change, code, message) => {
  const error = expect.objectContaining({ code, message: expect.stringMatching(message) });
  const layer = defineLinear(good);
  const forward = loosely<LinearInputs>({ ...inputs(), ...change });
  const backward = loosely<LinearBackwardInputs>({ dy: floats(12), saved: { pre: floats(12) }, ...forward });

  test('is refused', async () => {
    expect(() => layer.forward(forward)).toThrow(error);
    expect(() => layer.backward(backward)).toThrow(error);
    await expect(layer.forwardAsync(forward)).rejects.toEqual(error);
    await expect(layer.backwardAsync(backward)).rejects.toEqual(error);
    expect(layer.forward(loosely<LinearInputs>(inputs())).y).toHaveLength(12);
  });
});

test.each<[string, Loose, Loose, string, RegExp]>([
  ['dy of another size', { dy: floats(11) }, {}, 'ERR_SHAPE', /dy: expected 12 elements/],
  ['no pre-activation', { saved: {} }, {}, 'ERR_DTYPE', /saved.pre/],
  ['h of another size', { saved: { h: floats(5), pre: floats(12) } }, {}, 'ERR_SHAPE', /saved.h: expected 4/],
  ['an unknown gradient', {}, { needs: ['dw'] }, 'ERR_OPTION', /needs: expected one or more of dx, dv, du, dbias/],
  ['a gradient that the layer has not', {}, { needs: ['dguide'] }, 'ERR_OPTION', /needs/],
  ['no gradient at all', {}, { needs: [] }, 'ERR_OPTION', /needs/],
  ['needs that are no list', {}, { needs: 'dx' }, 'ERR_OPTION', /needs/],
  ['out of another size', {}, { out: { dx: floats(7) } }, 'ERR_SHAPE', /out.dx: expected 8 elements, got 7/],
  ['out for what is not computed', {}, { needs: ['dx'], out: { du: floats(12) } }, 'ERR_OPTION', /out.du/],
  ['out of another kind', {}, { out: { dx: new Float64Array(8) } }, 'ERR_DTYPE', /out.dx/],
  ['out as null', {}, { out: null }, 'ERR_OPTION', /out/],
])('backward: %s', (_, change, options, code, message) => {
  const layer = defineLinear(good);
  const all = loosely<LinearBackwardInputs>({ ...inputs(), dy: floats(12), saved: { pre: floats(12) }, ...change });
  expect(() => layer.backward(all, loosely(options))).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) }),
  );
});

test('with an activation between the factors, backward needs h', () => {
  const { activation: _, ...plain } = good;
  const spec = { ...plain, innerActivation: 'silu' } as const;
  const layer = defineLinear(spec);
  const all = loosely<LinearBackwardInputs>({ ...inputs(), dy: floats(12) });
  expect(() => layer.backward(all)).toThrow(
    expect.objectContaining({ code: 'ERR_DTYPE', message: expect.stringMatching(/saved.h: expected a Float32Array/) }),
  );
  const ffn = defineFeedForward({ fc1: plain, fc2: { ...spec, inFeatures: 6 }, activation: 'relu' });
  const fc2 = { v: floats(12), u: floats(12) };
  expect(() =>
    ffn.backward({
      x: floats(8),
      dy: floats(12),
      fc1: loosely<LinearInputs>(inputs()),
      fc2,
      saved: { pre: floats(12) },
    }),
  ).toThrow(/saved.h2: expected a Float32Array/);
});

test('outputs that overlap an input or each other', () => {
  const layer = defineLinear({ structure: 'dense', inFeatures: 4, outFeatures: 4 });
  const memory = floats(64);
  const [x, u] = [memory.subarray(0, 8), memory.subarray(8, 24)];
  const forward = (y: Float32Array) => layer.forward({ x, u }, { out: { y } });
  const error = expect.objectContaining({ code: 'ERR_OPTION', message: expect.stringContaining('overlaps') });
  expect(() => forward(x)).toThrow(error);
  expect(() => forward(memory.subarray(23, 31))).toThrow(error);
  expect(forward(memory.subarray(24, 32)).y).toHaveLength(8);
  const out = { dx: memory.subarray(32, 40), dbias: memory.subarray(39, 43) };
  expect(() => layer.backward({ dy: floats(8), x, u }, { out })).toThrow(error);
});

test.each([null, 5, 'x'])('%s instead of inputs or options', (value) => {
  const layer = defineLinear(good);
  const ffn = defineFeedForward({
    fc1: { ...good },
    fc2: { ...good, inFeatures: 6, outFeatures: 4 },
    activation: 'relu',
  });
  const error = expect.objectContaining({ code: 'ERR_OPTION' });
  expect(() => layer.forward(value as unknown as LinearInputs)).toThrow(error);
  expect(() => layer.forward(loosely<LinearInputs>(inputs()), value as unknown as object)).toThrow(error);
  expect(() => ffn.forward(value as never)).toThrow(error);
  expect(() => ffn.forward(loosely<FeedForwardInputs>({ x: floats(4), fc1: inputs(), fc2: value }))).toThrow(error);
});

test('errors of a network name the layer', () => {
  const ffn = defineFeedForward({
    fc1: { structure: 'dense', inFeatures: 2, outFeatures: 4 },
    fc2: { structure: 'dense', inFeatures: 4, outFeatures: 2 },
    activation: 'relu',
  });
  expect(() => ffn.forward({ x: floats(2), fc1: { u: floats(8) }, fc2: { u: floats(9) } })).toThrow(
    'feedForward.forward: fc2: u: expected 8 elements, got 9',
  );
});

describe('what was handed in or out cannot change what a call does', () => {
  const layer = defineLinear(good);

  test('shapes, dims and specifications', () => {
    const { shapes, dims, spec } = layer;
    expect(() => Object.assign(shapes.u, { 0: 1 })).toThrow(TypeError);
    expect(() => Object.assign(shapes, { u: [1] })).toThrow(TypeError);
    expect(() => Object.assign(spec, { rank: 1 })).toThrow(TypeError);
    dims.sizes.fill(1000);
    expect(layer.dims.sizes[0]).toBe(1);
    const given = { fc1: { ...good }, fc2: { ...good, inFeatures: 6, outFeatures: 4 }, activation: 'relu' as string };
    const ffn = defineFeedForward(given as FeedForwardSpec);
    const { x, ...fc1 } = inputs() as { x: Float32Array; u: Float32Array };
    const fc2 = { v: floats(12), u: floats(8) };
    const before = ffn.forward({ x, fc1, fc2 }).y;
    given.activation = 'swiglu';
    expect(ffn.forward({ x, fc1, fc2 }).y).toEqual(before);
  });

  test('arrays that claim another length', () => {
    const short = floats(4);
    Object.defineProperty(short, 'length', { value: 12 });
    expect(() => layer.forward(loosely<LinearInputs>({ ...inputs(), u: short }))).toThrow(
      'u: expected 12 elements, got 4',
    );
    const out = floats(1);
    Object.defineProperty(out, 'length', { value: 12 });
    expect(() => layer.forward(loosely<LinearInputs>(inputs()), { out: { y: out } })).toThrow(
      'y: expected 12 elements, got 1',
    );
  });

  test('getters that answer differently the second time', () => {
    const changing = (first: Float32Array) => {
      let asked = 0;
      return { enumerable: true, get: () => (asked++ === 0 ? first : floats(1)) };
    };
    const tricky = Object.defineProperties(inputs(), { x: changing(floats(8)), u: changing(floats(12)) });
    const out = Object.defineProperties({}, { y: changing(floats(12)) });
    const expected = layer.forward(loosely<LinearInputs>(inputs())).y;
    expect(layer.forward(loosely<LinearInputs>(tricky), { out }).y).toEqual(expected);
  });
});
