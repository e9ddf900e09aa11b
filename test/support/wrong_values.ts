/** What a caller without type checking may pass. */
import { tensor, zeros } from '../../lib';

/** Values that one argument or another does not take, made anew for each call. */
export const VALUES: Readonly<Record<string, () => unknown>> = {
  undefined: () => undefined,
  null: () => null,
  text: () => 'a',
  'empty text': () => '',
  'a path with a zero': () => 'a\0b',
  'a number': () => 5,
  'a fraction': () => 1.5,
  NaN: () => Number.NaN,
  'a negative number': () => -1,
  '2^53': () => 2 ** 53,
  'a bigint': () => 1n,
  'a symbol': () => Symbol('s'),
  true: () => true,
  'a function': () => () => 1,
  'an object': () => ({}),
  'an object without prototype': () => Object.create(null),
  'an unknown option': () => ({ nonsense: 1 }),
  'an empty array': () => [],
  'an array with a hole': () => [1, ...new Array(1), 2],
  'an array of null': () => [null],
  'an array of symbols': () => [Symbol('s')],
  'a shape of 2^62': () => [2 ** 31, 2 ** 31],
  'a tensor': () => tensor([1, 2]),
  'an int32 tensor': () => tensor(Int32Array.of(1, 2)),
  'a disposed tensor': () => {
    const x = tensor([1]);
    x.dispose();
    return x;
  },
  'many rows of nothing': () => zeros([2 ** 31, 0]),
  'a Float64Array': () => new Float64Array(2),
  'a Map': () => new Map([['a', 1]]),
  'a Date': () => new Date(0),
};

/** Exports that take the beginning of their messages first, which is text by its type and no input. */
export const TAKES_WHERE = ['checkDevice', 'checkDeviceName', 'checkActivation', 'linearDims', 'checkStructure'];
