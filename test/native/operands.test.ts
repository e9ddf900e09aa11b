/** Whatever reaches the addon, no kernel reads elements that it does not take: native/kernels.def names them, operand by operand. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DecoderModel } from '../../lib/decode/model';
import { availableDevices, deviceCode } from '../../lib/device';
import { native } from '../../lib/native';
import type { Handle, NativeModel } from '../../types/native';
import { smallModel } from '../decode/support';

type Element = keyof typeof native.dtypes;
const ELEMENTS = Object.keys(native.dtypes) as Element[];

/** By the type of an operand: what it takes, and whether all such operands of a call are of one type. */
const RULES: Readonly<Record<string, { accepts: readonly Element[]; agrees?: boolean }>> = {
  F32: { accepts: ['float32'] },
  I32: { accepts: ['int32'] },
  I8: { accepts: ['int8'] },
  Float: { accepts: ['float32', 'bfloat16'], agrees: true },
  AnyFloat: { accepts: ['float32', 'bfloat16'] },
  Weight: { accepts: ['float32', 'bfloat16', 'int8'] },
  Reduced: { accepts: ['bfloat16', 'int8'] },
  Any: { accepts: ELEMENTS, agrees: true },
};

interface Parameter {
  readonly name: string;
  /** The type without the s of lists. */
  readonly type: string;
  readonly isList: boolean;
}

const source = readFileSync(join(__dirname, '..', '..', 'native', 'kernels.def'), 'utf8').replaceAll(/\/\/.*$/gm, '');
const kernels = [...source.matchAll(/KERNEL\((\w+),([^)]*)\)/g)].map(([, kernel = '', parameters = '']) => ({
  kernel,
  parameters: parameters.split(',').map((text): Parameter => {
    const [type = '', name = ''] = text.trim().split(/\s+/);
    const isList = !['Ints', 'Dims'].includes(type) && type.endsWith('s');
    return { name, type: isList ? type.slice(0, -1) : type, isList };
  }),
}));

describe.each(availableDevices())('on %s', (device) => {
  const handles = new Map<Element, Handle>();
  let model: NativeModel;
  beforeAll(() => {
    model = new DecoderModel(smallModel().to(device), 'float32').bind(() => 'factored');
    for (const element of ELEMENTS)
      handles.set(element, native.allocate(16, native.dtypes[element], deviceCode(device)));
  });
  afterAll(() => {
    for (const handle of handles.values()) native.release(handle);
  });

  const argument = ({ type, isList }: Parameter, element: Element) => {
    if (type === 'Ints') return new Int32Array(16);
    if (type === 'Dims') return Int32Array.of(1, 4, 4, 1, 4, 4, 0);
    if (type === 'Model') return model;
    if (!(type in RULES)) return 0;
    return isList ? [handles.get(element)!] : handles.get(element)!;
  };

  test.each(kernels.map((one) => [one.kernel, one.parameters] as const))('%s', (kernel, parameters) => {
    const call: (...values: unknown[]) => void = Reflect.get(native.kernels, kernel);
    const valid = parameters.map((one) => argument(one, (RULES[one.type]?.accepts ?? ELEMENTS)[0]!));
    parameters.forEach((parameter, i) => {
      if (parameter.type === 'Dims') {
        const dims = valid[i] as Int32Array;
        // Of another length, or with what cannot stand between the factors.
        for (const wrong of [dims.slice(1), Int32Array.of(...dims, 0), dims.with(6, 4), dims.with(6, -1)])
          expect(() => call(...valid.with(i, wrong))).toThrow('expected the seven dims of a linear layer');
      }
      const rule = RULES[parameter.type];
      if (!rule) return;
      const agreeing = parameters.findIndex(({ type }) => RULES[type]?.agrees && type === parameter.type);
      for (const element of ELEMENTS) {
        const wrong = !rule.accepts.includes(element);
        const mixed = rule.agrees && agreeing < i && element !== rule.accepts[0];
        if (!wrong && !mixed) continue;
        const values = valid.with(i, argument(parameter, element));
        expect(() => call(...values)).toThrow(
          expect.objectContaining({
            code: 'ERR_DTYPE',
            message: expect.stringMatching(`^${kernel}: ${parameter.name}: expected .*, got ${element}$`),
          }),
        );
      }
    });
  });
});

test('every operand of kernels.def has one of these types', () => {
  const others = ['Ints', 'Dims', 'Model', 'int64_t', 'double', 'Activation', 'UnaryOp', 'BinaryOp', 'Reduction'];
  const types = new Set(kernels.flatMap(({ parameters }) => parameters.map(({ type }) => type)));
  expect([...types].filter((type) => !(type in RULES) && !others.includes(type))).toEqual([]);
});

test('a number that is no element type is refused', () => {
  for (const code of [-1, 4, 255]) expect(() => native.allocate(1, code)).toThrow('such codes');
});
