import {
  clone,
  cudaStatus,
  DeviceError,
  DisposedError,
  DTypeError,
  empty,
  full,
  items,
  memoryStats,
  OptionError,
  OutOfMemoryError,
  ones,
  SffnError,
  ShapeError,
  Tensor,
  tensor,
  zeros,
} from '../lib';
import { allocatedWithoutGarbage, withSpareMemory } from './support/garbage';

beforeEach(() => allocatedWithoutGarbage());

test('an array whose memory is gone is refused, and one without elements is not', () => {
  const array = new Float32Array(4);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  expect(() => tensor(array)).toThrow(DisposedError);
  const ResizableBuffer = ArrayBuffer as unknown as new (bytes: number, options: object) => ArrayBuffer;
  const buffer = new ResizableBuffer(16, { maxByteLength: 16 });
  const beyond = new Int32Array(buffer, 8, 2);
  (buffer as unknown as { resize(bytes: number): void }).resize(8);
  expect(() => tensor(beyond)).toThrow(DisposedError);
  expect(tensor(new Float32Array(0)).shape).toEqual([0]);
});

test('a disposed tensor is of no use, although a view keeps its memory', () => {
  const x = tensor([1]);
  const view = x.view();
  x.dispose();
  for (const use of [() => x.data, () => x.toArray(), () => x.item(), () => x.host(), () => items([x])])
    expect(use).toThrow(DisposedError);
  expect(() => view.copyFrom(x)).toThrow(DisposedError);
  expect(() => x.copyFrom(view)).toThrow(DisposedError);
  expect(view.item()).toBe(1);
  view.dispose();
});

test.each(['length', 'buffer'])('data with another %s of its own becomes empty with its tensor', (name) => {
  const x = tensor([1, 2, 3]);
  const { data } = x;
  Object.defineProperty(data, name, { value: name === 'length' ? 0 : new ArrayBuffer(8) });
  x.dispose();
  expect(data[0]).toBeUndefined();
});

test('data of no elements leaves nothing behind', () => {
  const { allocated } = memoryStats();
  const x = zeros([3, 0]);
  expect(x.data).toHaveLength(0);
  x.dispose();
  expect(memoryStats().allocated).toBe(allocated);
});

test('values come back as they went in', () => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  expect(x.shape).toEqual([2, 3]);
  expect([...x.data]).toEqual([1, 2, 3, 4, 5, 6]);
  expect(tensor(7).item()).toBe(7);
  expect(tensor(7).shape).toEqual([]);
  expect(tensor(Int32Array.of(1, -2), [2, 1]).dtype).toBe('int32');
  expect([...ones([2]).data, ...zeros([1]).data, ...full([1], 2.5).data]).toEqual([1, 1, 0, 2.5]);
});

test('data is the memory itself, toArray a copy', () => {
  const x = tensor([1, 2]);
  const copy = x.toArray();
  x.data[0] = 9;
  expect([x.data[0], copy[0], clone(x).data[0]]).toEqual([9, 1, 9]);
});

describe('bfloat16', () => {
  const bfloat16 = { dtype: 'bfloat16' } as const;

  test('is made of its bits on request', () => {
    const bits = Uint16Array.of(0x3f80, 0xc000, 0x7fc0, 0x0001);
    const x = tensor(bits, [2, 2], bfloat16);
    bits[0] = 0;
    expect([x.dtype, x.shape, [...x.toArray()]]).toEqual(['bfloat16', [2, 2], [1, -2, Number.NaN, 2 ** -133]]);
    expect(tensor(bits, undefined, bfloat16).shape).toEqual([4]);
    expect(() => tensor(bits, [3], bfloat16)).toThrow(ShapeError);
    // It may hold ids: nothing is taken for bits unasked.
    for (const options of [{}, { dtype: 'float32' }, { dtype: 'int32' }] as const)
      expect(() => tensor(bits, [4], options)).toThrow(
        "tensor: expected a Float32Array or Int32Array, or with dtype 'bfloat16' the bits in a Uint16Array, got Uint16Array",
      );
  });

  test('shows its bits, which are the memory itself, and no other type does', () => {
    const x = tensor([1, -2], [2], bfloat16);
    expect([...x.bits]).toEqual([0x3f80, 0xc000]);
    x.bits[1] = 0x4040;
    expect([...x.toArray()]).toEqual([1, 3]);
    expect(() => x.data).toThrow('data: expected float32 or int32 (there are bits and toArray()), got bfloat16');
    expect(() => ones([1]).bits).toThrow('bits: expected a bfloat16 tensor, got float32');
    const { bits } = x;
    x.dispose();
    expect(bits).toHaveLength(0);
    expect(() => x.bits).toThrow(DisposedError);
  });
});

test('one tensor is copied into another of its shape and dtype', () => {
  const x = zeros([2]);
  expect(x.copyFrom(tensor([1, 2]))).toBe(x);
  expect([...x.data]).toEqual([1, 2]);
  expect(() => x.copyFrom(tensor([[1, 2]]))).toThrow('copyFrom: expected a tensor of shape [2], got [1, 2]');
  expect(() => x.copyFrom(tensor(Int32Array.of(1, 2)))).toThrow(DTypeError);
  expect(() => x.copyFrom([1, 2] as never)).toThrow('copyFrom: source: expected a tensor, got [1, 2]');
});

test('values of tensors of one element are read together', () => {
  expect(items([tensor([3]), tensor(4), tensor([[5]])])).toEqual([3, 4, 5]);
  expect(items([])).toEqual([]);
  let asked = 0;
  const changing = [tensor(1), tensor(2)];
  Object.defineProperty(changing, 0, { get: () => (asked++ === 0 ? tensor(1) : zeros([0])) });
  expect(items(changing)).toEqual([1, 2]);
  for (const wrong of [tensor([1]), undefined, [undefined], [3], [tensor([1]), null]])
    expect(() => items(wrong as never)).toThrow('items: expected an array of tensors');
  expect(() => items([tensor([1, 2])])).toThrow(ShapeError);
  expect(() => items([tensor(Int32Array.of(1))])).toThrow(DTypeError);
});

test('memory is aligned to 64 bytes and counted', () => {
  const before = memoryStats().allocated;
  const x = empty([1000]);
  expect(memoryStats().allocated - before).toBeGreaterThanOrEqual(4000);
  x.dispose();
  expect(memoryStats().allocated).toBe(before);
});

test('after dispose the tensor and its arrays are unusable, and disposing again is harmless', () => {
  const x = tensor([1, 2, 3]);
  const { data } = x;
  x.dispose();
  x.dispose();
  expect(x.disposed).toBe(true);
  expect(data.length).toBe(0);
  expect(() => x.data).toThrow(DisposedError);
  expect(() => clone(x)).toThrow(DisposedError);
});

test('views keep shared memory alive', () => {
  const x = tensor([1, 2, 3, 4]);
  const y = x.view([2, 2]);
  x.dispose();
  expect([...y.data]).toEqual([1, 2, 3, 4]);
  y.dispose();
  expect(() => y.data).toThrow(DisposedError);
});

test('an array that the caller transferred away does not take the tensor with it', () => {
  const x = tensor([1, 2, 3]);
  structuredClone(x.data.buffer, { transfer: [x.data.buffer as ArrayBuffer] });
  expect([...x.data]).toEqual([1, 2, 3]);
});

test('more memory than the limit is an error, and the library goes on', async () => {
  await withSpareMemory(1_000_000, 'cpu', () => {
    expect(() => empty([10_000_000])).toThrow(OutOfMemoryError);
    expect(zeros([100]).data[99]).toBe(0);
  });
  expect(() => empty([2 ** 50])).toThrow(OutOfMemoryError);
});

test('what makes no tensor is refused by name', () => {
  expect(() => tensor([[1, 2], 3])).toThrow(ShapeError);
  expect(() => tensor([[1, 2], [3]])).toThrow(ShapeError);
  // @ts-expect-error another kind of typed array
  expect(() => tensor(Float64Array.of(1))).toThrow(DTypeError);
  expect(() => tensor([1], [1.5])).toThrow(OptionError);
  expect(() => tensor([1], [-1])).toThrow(OptionError);
  expect(() => tensor([1, 2]).item()).toThrow(ShapeError);
  expect(() => tensor([1], [1], { device: 'cuda' })).toThrow(DeviceError);
  expect(() => tensor([1]).to('cuda')).toThrow(`device 'cuda' is ${cudaStatus()}`);
  expect(() => tensor(Int32Array.of(1), [1], { requiresGrad: true })).toThrow(DTypeError);
});

describe('what is handed out cannot change what kernels trust', () => {
  test('shapes are copies, and frozen', () => {
    const sizes = [2, 3];
    const x = zeros(sizes);
    sizes[0] = 1e6;
    expect(() => {
      (x.shape as number[])[0] = 1e6;
    }).toThrow(TypeError);
    expect(() => Object.assign(x, { shape: [1e6] })).toThrow(TypeError);
    for (const name of ['length', 'dtype', 'device'])
      expect(() => Object.assign(x.storage, { [name]: 1e6 })).toThrow(TypeError);
    expect([x.shape, x.size]).toEqual([[2, 3], 6]);
  });

  test('a view has as many elements as there are', () => {
    const x = zeros([4]);
    for (const wrong of [[5], [1e6], [-2, -2], [Number.NaN], [0.5, 8], 'x', null])
      expect(() => x.view(wrong as never)).toThrow(SffnError);
    expect(() => new Tensor(x.storage, [1e6])).toThrow(ShapeError);
    expect(() => new Tensor({ length: 1 } as never, [1])).toThrow(OptionError);
    x.dispose();
    expect(() => x.view()).toThrow(DisposedError);
  });

  test('memory of another size is not taken over', () => {
    const x = zeros([4]);
    for (const wrong of [zeros([3]), zeros([2, 2]), zeros([4], { dtype: 'int32' }), null, {}])
      expect(() => x.adopt(wrong as never)).toThrow(SffnError);
    x.adopt(ones([4]));
    x.adopt(x);
    expect([...x.data]).toEqual([1, 1, 1, 1]);
  });

  test('a typed array has the length that it has, whatever it says', () => {
    const values = Float32Array.of(1, 2);
    Object.defineProperty(values, 'length', { value: 1e6 });
    expect(() => tensor(values, [1e6])).toThrow(ShapeError);
    expect([...tensor(values, [2]).data]).toEqual([1, 2]);
  });
});

test('values that a tensor of that dtype cannot hold are refused', () => {
  const int32 = { dtype: 'int32' } as const;
  for (const value of [1.5, 2 ** 31, Number.NaN, '1', null])
    expect(() => full([2], value as never, int32)).toThrow(OptionError);
  expect(() => tensor([1.5], [1], int32)).toThrow(OptionError);
  expect(() => tensor(Float32Array.of(2 ** 40), [1], int32)).toThrow(OptionError);
  expect([...full([2], -(2 ** 31), int32).data]).toEqual([-(2 ** 31), -(2 ** 31)]);
});

test('what is no array of numbers is refused by name', () => {
  const endless: unknown[] = [];
  endless.push(endless);
  const holes = [1, new Array<number>(1), 2];
  for (const values of [
    'a',
    [1n],
    holes,
    [[1], new Array(1)],
    null,
    undefined,
    {},
    [null],
    ['1'],
    new Set([1]),
    endless,
    true,
  ])
    expect(() => tensor(values as never)).toThrow(SffnError);
});
