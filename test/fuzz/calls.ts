/** Everything that a program may call, by name: the exports of four entries, methods of tensors, lifetimes, memory. */

import type { Device, DType, Tensor } from '../../lib';
import * as lib from '../../lib';
import * as functional from '../../lib/functional';
import * as nn from '../../lib/nn';
import * as optim from '../../lib/optim';
import { TestRandom } from '../support/random';
import {
  type ReferenceLayer,
  referenceBackward,
  referenceFfnForward,
  referenceForward,
  referenceMerge,
} from '../support/reference';
import { TAKES_WHERE, VALUES } from '../support/wrong_values';
import { changing, detach, floats } from './arrays';
import type { Draw } from './draw';
import { expectClose, type Machine, violated } from './machine';
import { OPS } from './ops';

export type CallOf = (m: Machine, d: Draw) => void | Promise<void>;

/** Entries by the beginnings of the names of their calls. */
export const ENTRIES: Readonly<Record<string, object>> = {
  '': lib,
  'functional.': functional,
  'nn.': nn,
  'optim.': optim,
};

/** Exports that no program calls, and why. */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  SffnError: 'errors compute nothing',
  'functional.toBfloat16': 'one call of cast, tried on all bits in test/functional',
  'functional.fromBfloat16': 'the same',
  BinaryError: 'an error',
  DTypeError: 'an error',
  DeviceError: 'an error',
  DisposedError: 'an error',
  FileError: 'an error',
  FormatError: 'an error',
  GradientError: 'an error',
  IndexError: 'an error',
  OptionError: 'an error',
  OutOfMemoryError: 'an error',
  RecordingError: 'an error',
  ShapeError: 'an error',
  StateDictError: 'an error',
  'nn.Module': 'abstract: each of its classes is called',
};

const SHAPES: readonly (readonly number[])[] = [
  [],
  [0],
  [1],
  [2, 3],
  [7],
  [257],
  [0, 2 ** 31],
  [2 ** 31, 2 ** 31],
  [2 ** 40],
  [2 ** 53 - 1],
  [2 ** 53],
  [-1],
  [1.5],
  [Number.NaN],
];
const DTYPES: readonly DType[] = ['float32', 'bfloat16', 'int32'];
const DEVICES: readonly Device[] = ['cpu', 'cpu', 'cpu', 'cuda', 'cuda:7'];
const NUMBERS: readonly number[] = [0, 1, -1, 0.5, 1e30, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31];

const shapeOf = (d: Draw): readonly number[] => (d.once(4) ? d.pick(SHAPES) : d.shape());
const options = (d: Draw): lib.TensorOptions => ({
  dtype: d.pick(DTYPES),
  device: d.pick(DEVICES),
  requiresGrad: d.once(3),
});

/** Wrong values, and some right ones, for any argument. */
const WRONG = Object.values(VALUES);

function wild(name: string, value: unknown, m: Machine, d: Draw): void {
  const args = Array.from({ length: d.int(0, 4) }, () => (d.once(2) ? m.any(d) : d.pick(WRONG)()));
  if (TAKES_WHERE.includes(name.split('.').at(-1)!)) args[0] = 'fuzz';
  m.untidy = true; // a wrong value may be a tensor of its own, or be kept by what was made
  m.attempt(`${name} with anything`, false, () => {
    const call = value as (...args: unknown[]) => unknown;
    const result = /^class\b/.test(Function.prototype.toString.call(value))
      ? Reflect.construct(call, args)
      : call(...args);
    collect(m, result);
  });
}

/** What came out is disposed at the end, whatever it is. */
function collect(m: Machine, value: unknown): void {
  if (lib.isTensor(value)) m.keep(value);
  else if (value instanceof Promise) m.later('a promise', false, async () => collect(m, await value));
  else if (Array.isArray(value)) for (const item of value) collect(m, item);
  else if (value !== null && typeof value === 'object' && 'dispose' in value && typeof value.dispose === 'function') {
    const { dispose } = value as { dispose: () => void };
    m.own({ [Symbol.dispose]: () => dispose.call(value) });
  } else if (value !== null && typeof value === 'object' && Symbol.dispose in value) m.own(value as Disposable);
}

/** Of the main entry, beside ops. */
const MAKING: Readonly<Record<string, CallOf>> = {
  zeros: (m, d) => void m.attempt('zeros', false, () => m.keep(lib.zeros(shapeOf(d), options(d)))),
  ones: (m, d) => void m.attempt('ones', false, () => m.keep(lib.ones(shapeOf(d), options(d)))),
  full: (m, d) =>
    void m.attempt('full', false, () => {
      const [value, shape] = [d.pick(NUMBERS), shapeOf(d)];
      const y = m.keep(lib.full(shape, value, { dtype: 'float32' }));
      if (y.size > 0) expectClose('full', y.toArray(), new Array(y.size).fill(value));
    }),
  empty: (m, d) => void m.attempt('empty', false, () => m.keep(lib.empty(shapeOf(d), d.pick(DTYPES), d.pick(DEVICES)))),
  tensor: (m, d) =>
    void m.attempt('tensor', false, () => {
      const random = new TestRandom(d.int(0, 0xffff));
      const values = changing(d, random) as Float32Array;
      const exact = (): number[] => Array.from(Float32Array.prototype.slice.call(values));
      const isPlain = Object.prototype.toString.call(values) === '[object Float32Array]';
      const t = m.keep(lib.tensor(values, undefined, d.once(2) ? { requiresGrad: true } : {}));
      if (isPlain) expectClose('tensor', t.toArray(), exact());
    }),
  parameter: (m, d) => void m.attempt('parameter', false, () => m.own(lib.parameter(m.any(d)))),
  isTensor: (m, d) => void m.attempt('isTensor', true, () => lib.isTensor(m.any(d))),
  items: (m, d) => void m.attempt('items', false, () => lib.items(Array.from({ length: d.int(0, 3) }, () => m.any(d)))),
  keep: (m, d) => void m.attempt('keep', true, () => lib.keep(m.any(d))),
  Scope: (m, d) => (d.once(2) ? m.close() : m.open()),
  tidy: (m, d) =>
    void m.attempt('tidy', false, () => {
      const result = lib.tidy(() => {
        const x = m.any(d);
        const inner = [lib.neg(x), lib.square(x)];
        if (d.once(3)) lib.keep(m.own(inner[1]!));
        return d.once(2) ? inner[0]! : { a: [inner[0]!] };
      });
      m.keep(lib.isTensor(result) ? result : result.a[0]!);
    }),
  noGrad: (m, d) => void m.attempt('noGrad', false, () => m.keep(lib.noGrad(() => lib.exp(m.any(d))))),
  Generator: (m, d) =>
    void m.attempt('Generator', false, () => {
      const generator = new lib.Generator(d.pick([0, 1, 2 ** 40, -1]));
      const shape = shapeOf(d);
      m.keep(d.once(2) ? generator.uniform(shape, -1, d.pick(NUMBERS)) : generator.normal(shape, 0, d.pick(NUMBERS)));
      generator.next();
      generator.nextInt(d.pick([1, 7, 2 ** 32, 0, 2 ** 33]));
      const [a, b] = [lib.Generator.fromState(generator.state()), generator];
      if (a.next() !== b.next()) throw violated('Generator', 'it does not go on where its state was taken');
    }),
  linearDims: (m, d) =>
    void m.attempt('linearDims', false, () => lib.linearDims('fuzz', d.once(2) ? null : shapeOf(d), shapeOf(d))),
  RecordedStep: (m) => void m.attempt('RecordedStep', false, () => m.own(new lib.RecordedStep(() => []))),
};

/** Of the main entry: settings of the process, which `expectMemoryBack` puts back. */
const SETTING: Readonly<Record<string, CallOf>> = {
  setNumThreads: (m, d) => void m.attempt('setNumThreads', false, () => lib.setNumThreads(d.int(0, 5))),
  setIsa: (m, d) => void m.attempt('setIsa', true, () => lib.setIsa(d.pick(lib.availableIsas()))),
  emptyCache: (m, d) => void m.attempt('emptyCache', false, () => lib.emptyCache(d.pick(DEVICES))),
  resetPeakMemory: (m, d) => void m.attempt('resetPeakMemory', false, () => lib.resetPeakMemory(d.pick(DEVICES))),
  memoryStats: (m, d) => void m.attempt('memoryStats', false, () => lib.memoryStats(d.pick(DEVICES))),
  synchronize: (m, d) => void m.attempt('synchronize', false, () => lib.synchronize(d.pick(DEVICES))),
  deviceStatus: (m, d) => void m.attempt('deviceStatus', false, () => lib.deviceStatus(d.pick(DEVICES))),
  hostKernels: (m, d) => void m.attempt('hostKernels', false, () => lib.hostKernels(d.pick(DEVICES))),
  checkDevice: (m, d) => void m.attempt('checkDevice', false, () => lib.checkDevice('fuzz', d.pick(DEVICES))),
  checkDeviceName: (m, d) =>
    void m.attempt('checkDeviceName', false, () => lib.checkDeviceName('fuzz', d.pick(DEVICES))),
  deviceName: (m, d) => void m.attempt('deviceName', false, () => lib.deviceName(d.pick(DEVICES))),
  deviceCode: (m, d) => void m.attempt('deviceCode', false, () => lib.deviceCode(d.pick(DEVICES))),
  kindOf: (m, d) => void m.attempt('kindOf', false, () => lib.kindOf(d.pick(DEVICES))),
  setCudaTf32: (m) => void m.attempt('setCudaTf32', false, () => lib.setCudaTf32(lib.getCudaTf32())),
  setCudaDevice: (m) => void m.attempt('setCudaDevice', false, () => lib.setCudaDevice(0)),
  checkActivation: (m, d) =>
    void m.attempt('checkActivation', false, () => lib.checkActivation('fuzz', d.pick(['gelu', 'none', 'x', '']))),
  /** The next op has this much left, and then there is as much as before. */
  setMemoryLimit: async (m, d) => {
    await m.settle(); // a job would meet the limit, too
    const { allocated, limit } = lib.memoryStats();
    const name = d.pick(Object.keys(OPS));
    m.attempt('setMemoryLimit', true, () => lib.setMemoryLimit(allocated + d.pick([0, 64, 512, 4096, 1 << 16])));
    m.attempt(`${name} near the limit`, false, () => {
      try {
        m.mixed(name, d, OPS[name]!(d));
      } finally {
        lib.setMemoryLimit(limit);
      }
    });
  },
};

const ASKING: Readonly<Record<string, () => unknown>> = {
  availableDevices: lib.availableDevices,
  availableIsas: lib.availableIsas,
  cudaStatus: lib.cudaStatus,
  getCudaTf32: lib.getCudaTf32,
  getIsa: lib.getIsa,
  getNumThreads: lib.getNumThreads,
};

/** Methods of tensors; `Tensor` stands for its constructor. */
const METHODS: Readonly<Record<string, CallOf>> = {
  Tensor: (m, d) =>
    void m.attempt('Tensor', false, () => {
      const t = m.any(d);
      const { storage } = t;
      const other = new lib.Tensor(storage, d.once(2) ? t.shape : shapeOf(d));
      storage.retain();
      m.keep(other);
    }),
  'Tensor.view': (m, d) =>
    void m.attempt('view', false, () => m.keep(m.any(d).view(d.once(2) ? shapeOf(d) : undefined))),
  'Tensor.detach': (m, d) => void m.attempt('detach', false, () => m.keep(m.any(d).detach())),
  'Tensor.as': (m, d) => void m.attempt('as', false, () => m.keep(m.any(d).as(d.pick(DTYPES)))),
  'Tensor.to': (m, d) => void m.attempt('to', false, () => m.keep(m.any(d).to(d.pick(DEVICES)))),
  'Tensor.toArray': (m, d) => void m.attempt('toArray', false, () => m.any(d).toArray()),
  'Tensor.item': (m, d) => void m.attempt('item', false, () => m.any(d).item()),
  'Tensor.host': (m, d) => void m.attempt('host', false, () => m.any(d).host()),
  'Tensor.data': (m, d) =>
    void m.attempt('data', false, () => {
      const t = m.any(d);
      const { data } = t;
      if (data.length !== t.size) throw violated('data', 'not all elements');
      if (data.length > 0 && d.once(2)) data[d.int(0, data.length - 1)] = 1;
      if (d.once(8)) {
        m.untidy = true;
        structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] });
        if (t.data.length !== t.size) throw violated('data', 'gone with an array that was transferred');
      }
      if (d.once(3)) {
        const shared = t.storage.shared;
        const own = t.data;
        if (d.once(2)) Object.defineProperty(own, 'buffer', { value: new ArrayBuffer(8), configurable: true });
        t.dispose();
        if (!shared && own.length > 0) throw violated('data', 'an array still shows memory that was given back');
      }
    }),
  'Tensor.copyFrom': (m, d) => void m.attempt('copyFrom', false, () => m.any(d).copyFrom(m.any(d))),
  'Tensor.adopt': (m, d) => void m.attempt('adopt', false, () => m.any(d).adopt(m.any(d))),
  'Tensor.requiresGrad': (m, d) =>
    void m.attempt('requiresGrad', false, () => {
      m.any(d).requiresGrad = d.once(2);
    }),
  'Tensor.grad': (m, d) =>
    void m.attempt('grad', false, () => {
      const t = m.any(d);
      if (t.grad) m.own(t.grad);
      t.grad = d.once(2) ? m.any(d) : null;
    }),
  'Tensor.backward': (m, d) =>
    void m.attempt('backward', false, () => {
      const root = m.any(d);
      const gradient = d.once(2) ? null : m.operand(d, { shape: d.once(4) ? d.shape() : root.shape, kind: 'real' });
      root.backward(gradient, d.once(2) ? { releaseGraph: true } : undefined);
    }),
  'Tensor.dispose': (m, d) =>
    void m.attempt('dispose', true, () => {
      const t = m.any(d);
      t.dispose();
      if (d.once(2)) t.dispose();
      if (!t.disposed) throw violated('dispose', 'it is not disposed');
    }),
};

type LinearSpec = functional.LinearSpec;
const STRUCTURES: readonly LinearSpec[] = [
  { structure: 'dense', inFeatures: 6, outFeatures: 12 },
  { structure: 'lowrank', inFeatures: 6, outFeatures: 12, rank: 5 },
  { structure: 'lowrank', inFeatures: 12, outFeatures: 6, rank: 1 },
  { structure: 'blockdense', inFeatures: 12, outFeatures: 6, rank: 6, nblocks: 3 },
  { structure: 'blockshuffle', inFeatures: 12, outFeatures: 18, nblocks: 3 },
  { structure: 'btt', inFeatures: 12, outFeatures: 18, rank: 2, nblocks: [2, 3] },
];
const size = (shape: readonly number[]): number => shape.reduce((n, s) => n * s, 1);
const blocksOf = (shape: readonly number[]) =>
  [shape.length === 3 ? shape[0]! : 1, ...shape.slice(-2)] as [number, number, number];

/** Arrays for a layer, as raw arrays and as the reference takes them. */
function arraysOf(layer: functional.FunctionalLinear, d: Draw, random: TestRandom) {
  const { shapes, spec } = layer;
  const given = (shape: readonly number[]) => floats(d, size(shape), random);
  const v = shapes.v && given(shapes.v);
  const u = given(shapes.u);
  const bias = d.once(2) ? given(shapes.bias) : null;
  const guide = d.once(3) ? given(shapes.guide) : null;
  const alpha = guide ? 0.25 : undefined;
  const all = [v, u, bias, guide].filter((one) => one !== null);
  const exact = (one: typeof u | null) => (one === null ? null : exactly(one.array));
  const reference: ReferenceLayer = {
    vShape: shapes.v && blocksOf(shapes.v),
    uShape: blocksOf(shapes.u),
    v: exact(v),
    u: exactly(u.array),
    bias: exact(bias),
    guide: exact(guide),
    alpha,
    inner: spec.innerActivation,
  };
  return { arrays: { v: v?.array, u: u.array, bias: bias?.array, guide: guide?.array, alpha }, reference, all };
}

/** The elements, whatever the array says of itself. */
function exactly(array: Float32Array): Float64Array {
  try {
    return Float64Array.from(Float32Array.prototype.slice.call(array));
  } catch {
    return new Float64Array(0); // detached
  }
}

function functionalLinear(m: Machine, d: Draw): void {
  const random = new TestRandom(d.int(0, 0xffff));
  const base = d.pick(STRUCTURES);
  const innerActivation = base.structure === 'dense' ? undefined : d.pick(['none', 'gelu', 'relu'] as const);
  const layer = functional.defineLinear({ ...base, innerActivation });
  const { arrays, reference, all } = arraysOf(layer, d, random);
  const n = d.int(1, 9);
  const x = floats(d, n * base.inFeatures, random);
  const honest = [x, ...all].every((one) => one.honest);
  const own = [x, ...all].every((one) => one.own);
  const inputs = { ...arrays, x: x.array };
  const forward = honest ? referenceForward(reference, exactly(x.array)) : null;
  const check = ({ y }: functional.LinearResult) => {
    if (forward === null) return;
    expectClose('functional linear', exactly(y), forward);
    m.counts.compared++;
  };
  const out = d.once(4) ? { y: floats(d, n * base.outFeatures, random).array } : undefined;
  switch (d.int(0, 4)) {
    case 0:
      m.attempt('functional.forward', honest && !out, () => check(layer.forward(inputs, { out })));
      return;
    case 1: {
      const taken = d.once(4);
      m.later('functional.forwardAsync', honest && own && !out && !taken, async () => {
        const result = layer.forwardAsync(inputs, { out });
        // What happens to the inputs from here on does not count: they were copied.
        if (own && !taken) x.array.fill(Number.NaN);
        if (taken) detach(x.array);
        check(await result);
      });
      return;
    }
    case 2:
    case 3: {
      const dy = floats(d, n * base.outFeatures, random);
      const { saved } = honest ? layer.forward(inputs, { training: true }) : { saved: {} };
      const expected = honest && dy.honest ? referenceBackward(reference, exactly(x.array), exactly(dy.array)) : null;
      const compare = (g: functional.LinearGradients) => {
        if (expected === null) return;
        for (const name of ['dx', 'dv', 'du', 'dguide', 'dbias'] as const) {
          const [ours, theirs] = [g[name], expected[name]];
          if (ours && theirs) expectClose(`functional linear ${name}`, ours, theirs);
        }
        m.counts.gradients++;
      };
      if (d.once(2)) {
        m.attempt('functional.backward', expected !== null, () =>
          compare(layer.backward({ ...inputs, dy: dy.array, saved })),
        );
        return;
      }
      m.later('functional.backwardAsync', expected !== null && own && dy.own, async () => {
        compare(await layer.backwardAsync({ ...inputs, dy: dy.array, saved }));
      });
      return;
    }
    default:
      m.attempt('functional.merge', false, () => {
        const merged = layer.merge(arrays);
        if (honest) expectClose('functional.merge', merged, referenceMerge(reference));
      });
  }
}

function functionalFeedForward(m: Machine, d: Draw): void {
  const random = new TestRandom(d.int(0, 0xffff));
  const activation = d.pick(['none', 'gelu', 'silu', 'relu', 'swiglu'] as const);
  const hidden = activation === 'swiglu' ? 24 : 12;
  const [structure1, structure2] = [d.pick(STRUCTURES), d.pick(STRUCTURES)];
  const spec: functional.FeedForwardSpec = {
    fc1: { ...structure1, inFeatures: 12, outFeatures: hidden },
    fc2: { ...structure2, inFeatures: 12, outFeatures: 6 },
    activation,
  };
  const network = functional.defineFeedForward(spec);
  const [fc1, fc2] = [spec.fc1, spec.fc2].map((one) =>
    arraysOf(functional.defineLinear(one as LinearSpec), d, random),
  ) as [ReturnType<typeof arraysOf>, ReturnType<typeof arraysOf>];
  const x = floats(d, 12 * d.int(1, 7), random);
  const all = [x, ...fc1.all, ...fc2.all];
  const [honest, own] = [all.every((one) => one.honest), all.every((one) => one.own)];
  const inputs = { x: x.array, fc1: fc1.arrays, fc2: fc2.arrays };
  const expected = honest ? referenceFfnForward(fc1.reference, fc2.reference, activation, exactly(x.array)) : null;
  const check = (y: Float32Array) => {
    if (expected === null) return;
    expectClose('functional feed forward', y, expected);
    m.counts.compared++;
  };
  const gradient = (y: Float32Array) => new Float32Array(y.length).fill(0.5);
  if (d.once(2))
    m.attempt('functional.FeedForward', honest, () => {
      const { y, saved } = network.forward(inputs, { training: true });
      check(y);
      network.backward({ ...inputs, dy: gradient(y), saved });
    });
  else
    m.later('functional.FeedForward async', honest && own, async () => {
      const { y, saved } = await network.forwardAsync(inputs, { training: true });
      check(y);
      await network.backwardAsync({ ...inputs, dy: gradient(y), saved });
    });
}

const FUNCTIONAL: Readonly<Record<string, CallOf>> = {
  'functional.defineLinear': functionalLinear,
  'functional.FunctionalLinear': functionalLinear,
  'functional.defineFeedForward': functionalFeedForward,
  'functional.FunctionalFeedForward': functionalFeedForward,
};

const MODEL: nn.TransformerConfig = {
  vocabSize: 11,
  dModel: 12,
  nLayers: 1,
  nHeads: 2,
  seqLen: 8,
  ffn: { structure: 'lowrank', rank: 3 },
  firstFfnDense: false,
};
const widths = { inFeatures: 12, outFeatures: 6 };
const guided = () => new nn.SelfGuided(new nn.LowRankLinear({ ...widths, rank: 2 }), new nn.Guidance({ steps: 3 }));
const config = (d: Draw): nn.TransformerConfig => ({
  ...MODEL,
  norm: d.pick(['layer', 'rms']),
  activation: d.pick(['gelu', 'swiglu']),
  qkNorm: d.once(2),
  tieEmbeddings: d.once(2),
  learnedPositions: d.once(2),
});

/** Modules by their classes, and the shape that each takes; null: ids. */
const MODULES: Readonly<Record<string, readonly [make: (d: Draw) => nn.Module, input: readonly number[] | null]>> = {
  'nn.LinearLayer': [() => new nn.LinearLayer('lowrank', { ...widths, rank: 3 }), [5, 12]],
  'nn.createLinear': [
    (d) => nn.createLinear(d.pick(['lowrank', 'blockdense'] as const), { ...widths, ratio: 0.75 }),
    [5, 12],
  ],
  'nn.Linear': [(d) => new nn.Linear({ ...widths, bias: d.once(2) }), [5, 12]],
  'nn.LowRankLinear': [
    (d) => new nn.LowRankLinear({ ...widths, rank: d.int(1, 6), init: d.pick(['svd', 'xavier']) }),
    [12],
  ],
  'nn.BlockDenseLinear': [() => new nn.BlockDenseLinear({ ...widths, rank: 6, nblocks: 3 }), [2, 3, 12]],
  'nn.BlockShuffleLinear': [() => new nn.BlockShuffleLinear({ ...widths, nblocks: 3 }), [0, 12]],
  'nn.SelfGuided': [guided, [4, 12]],
  'nn.releaseGuides': [
    () => {
      const module = guided();
      nn.releaseGuides(module);
      return module;
    },
    [4, 12],
  ],
  'nn.FeedForward': [
    (d) =>
      new nn.FeedForward({
        structure: 'lowrank',
        rank: 2,
        dModel: 12,
        dFF: 18,
        activation: d.pick(['gelu', 'swiglu']),
      }),
    [5, 12],
  ],
  'nn.Embedding': [() => new nn.Embedding(11, 4), null],
  'nn.LayerNorm': [() => new nn.LayerNorm(12), [3, 12]],
  'nn.RMSNorm': [() => new nn.RMSNorm(12), [3, 12]],
  'nn.CausalSelfAttention': [() => new nn.CausalSelfAttention({ dModel: 12, nHeads: 2 }), [2, 5, 12]],
  'nn.TransformerBlock': [(d) => new nn.TransformerBlock(config(d), { structure: 'dense' }), [2, 5, 12]],
  'nn.TransformerLM': [(d) => new nn.TransformerLM(config(d)), null],
};

/** Makes a module, runs it, and often trains it; disposes it early or late. */
const moduleCall =
  (name: string): CallOf =>
  (m, d) => {
    const [make, input] = MODULES[name]!;
    m.attempt(name, true, () => {
      const module = make(d);
      m.own({ [Symbol.dispose]: () => module.dispose() });
      const x = m.operand(d, input === null ? { shape: [2, 4], kind: { below: 11 } } : { shape: input, kind: 'real' });
      const forward = () => m.keep((module as unknown as { forward(x: Tensor): Tensor }).forward(x));
      if (d.once(3)) module.eval();
      const y = forward();
      if (d.once(2)) train(m, d, module, y);
      if (d.once(3)) module.loadStateDict(module.stateDict());
      if (d.once(4)) {
        module.dispose();
        const used = m.attempt(`${name} after dispose`, false, () => void forward());
        if (used && module.parameters().length > 0) throw violated(name, 'a disposed module still computes');
      }
    });
  };

function train(m: Machine, d: Draw, module: nn.Module, y: Tensor): void {
  const optimizer = d.once(2) ? new optim.Muon(module) : new optim.AdamW(module);
  m.own({ [Symbol.dispose]: () => optimizer.dispose() });
  if (!y.requiresGrad) return;
  lib.sum(lib.square(y)).backward(null, { releaseGraph: d.once(2) });
  const { gradNorm } = optimizer.step({ lr: 1e-3, maxGradNorm: d.pick([0, 1]) });
  if (!Number.isFinite(gradNorm)) throw violated('an optimizer', `a norm of ${gradNorm}`);
  if (d.once(2)) optimizer.loadStateDict(optimizer.stateDict());
  optimizer.zeroGrad();
  if (d.once(3)) optimizer.remove(module.parameters());
}

/** Of `nn`, beside modules. */
const NN: Readonly<Record<string, CallOf>> = {
  'nn.ModuleList': (m, d) =>
    void m.attempt('nn.ModuleList', true, () => {
      const list = new nn.ModuleList([new nn.LayerNorm(3), guided()]);
      m.own({ [Symbol.dispose]: () => list.dispose() });
      if (d.once(2)) list.to('cpu', 'bfloat16');
    }),
  'nn.Guidance': (m, d) =>
    void m.attempt('nn.Guidance', true, () => {
      const guidance = new nn.Guidance({ steps: d.int(1, 4), form: d.pick(['mixed', 'published', 'unbiased']) });
      for (let i = 0; i < 5; i++) guidance.advance();
      guidance.restore(guidance.state());
    }),
  'nn.initWeight': (m, d) =>
    void m.attempt('nn.initWeight', false, () =>
      m.keep(nn.initWeight(new lib.Generator(1), shapeOf(d), d.pick(['normal', 'xavier', 'ortho']))),
    ),
  'nn.initBySvd': (m, d) =>
    void m.attempt('nn.initBySvd', false, () => {
      const { v, u } = nn.initBySvd(new lib.Generator(1), d.size(), d.size() % 20, d.int(0, 6));
      m.keep(v);
      m.keep(u);
    }),
  'nn.nearestFactors': (m, d) =>
    void m.attempt('nn.nearestFactors', false, () =>
      nn.nearestFactors(
        floats(d, 24, new TestRandom(d.int(0, 99))).array,
        d.pick([
          [2, 6],
          [3, 2, 2],
          [1, 1],
        ]),
        [4, 2],
      ),
    ),
  'nn.checkStructure': (m, d) =>
    void m.attempt('nn.checkStructure', false, () => nn.checkStructure('fuzz', d.pick(['dense', 'none', '']))),
  'nn.checkTransformerConfig': (m, d) =>
    void m.attempt('nn.checkTransformerConfig', true, () => nn.checkTransformerConfig(config(d))),
  'nn.countFlops': (m, d) =>
    void m.attempt('nn.countFlops', true, () => nn.countFlops(config(d), d.pick([undefined, 0, 3]))),
  'nn.countParameters': (m, d) => void m.attempt('nn.countParameters', true, () => nn.countParameters(config(d))),
  'nn.resolveConfig': (m, d) => void m.attempt('nn.resolveConfig', true, () => nn.resolveConfig(config(d))),
  'nn.presetConfig': (m, d) =>
    void m.attempt('nn.presetConfig', false, () => nn.presetConfig(d.pick([...nn.PRESET_NAMES, 'x' as never]))),
};

const OPTIM: Readonly<Record<string, CallOf>> = {
  'optim.AdamW': (m, d) => optimizerOf(m, d, (parameters) => new optim.AdamW(parameters)),
  'optim.Muon': (m, d) => optimizerOf(m, d, (parameters) => new optim.Muon(parameters)),
  'optim.isRecordable': (m, d) => optimizerOf(m, d, (parameters) => new optim.AdamW(parameters)),
  'optim.parameterGroups': (m, d) =>
    void m.attempt('optim.parameterGroups', false, () => optim.parameterGroups([m.any(d)], ({ kind }) => ({ kind }))),
  'optim.clipGradNorm': (m, d) =>
    void m.attempt('optim.clipGradNorm', false, () => optim.clipGradNorm([m.any(d), m.any(d)], d.pick(NUMBERS))),
  'optim.GradientClip': (m, d) =>
    void m.attempt('optim.GradientClip', false, () => {
      const clip = m.own(new optim.GradientClip());
      clip.measure([m.any(d)], d.pick(NUMBERS)).apply([m.any(d)]);
      clip.result.gradNorm;
    }),
  'optim.newtonSchulz': (m, d) =>
    void m.attempt('optim.newtonSchulz', false, () =>
      m.keep(optim.newtonSchulz(m.operand(d, { shape: d.shape(2, 3), kind: 'real' }), { iterations: d.int(0, 3) })),
    ),
  'optim.constantSchedule': (m, d) => schedule(m, () => optim.constantSchedule({ peak: d.pick(NUMBERS) })),
  'optim.cosineSchedule': (m, d) => schedule(m, () => optim.cosineSchedule({ peak: 1, totalSteps: d.pick(NUMBERS) })),
  'optim.wsdSchedule': (m, d) =>
    schedule(m, () => optim.wsdSchedule({ peak: 1, totalSteps: d.pick(NUMBERS), decaySteps: d.pick(NUMBERS) })),
  'optim.linearSchedule': (m, d) => schedule(m, () => optim.linearSchedule({ peak: 1, totalSteps: d.pick(NUMBERS) })),
};

function schedule(m: Machine, make: () => optim.Schedule): void {
  m.attempt('a schedule', false, () => {
    const rate = make();
    for (const step of [0, 1, 100]) if (!(rate(step) >= 0)) throw violated('a schedule', `a rate of ${rate(step)}`);
  });
}

/** On tensors of the program, with the gradients that they happen to have. */
function optimizerOf(m: Machine, d: Draw, make: (parameters: Tensor[]) => optim.RecordableOptimizer): void {
  m.attempt('an optimizer', false, () => {
    m.untidy = true; // where the constructor fails
    const parameters = Array.from({ length: d.int(1, 3) }, () => m.any(d));
    const optimizer = make(parameters);
    m.own({ [Symbol.dispose]: () => optimizer.dispose() });
    if (!optim.isRecordable(optimizer)) throw violated('isRecordable', 'not of an optimizer of ours');
    for (const x of parameters) if (x.grad) m.own(x.grad);
    optimizer.step({ lr: d.pick(NUMBERS) });
    if (d.once(2)) optimizer.prepareStep();
    if (d.once(2)) optimizer.applyStep();
    if (d.once(2)) optimizer.zeroGrad();
  });
}

const opCall =
  (name: string): CallOf =>
  (m, d) => {
    if (d.once(3)) m.mixed(name, d, OPS[name]!(d));
    else m.honest(name, d, OPS[name]!(d));
  };

/** An export whose name is a helper's; and those that a call of another name covers. */
const PLAIN: Readonly<Record<string, CallOf>> = {
  activatedFeatures: (m, d) =>
    void m.attempt('activatedFeatures', true, () => lib.activatedFeatures(d.pick(['gelu', 'swiglu']), 4)),
};

const withAnything =
  (name: string, call: CallOf): CallOf =>
  (m, d) => {
    const value = exportNamed(name);
    // Not what changes the process, nor what a wrong value could make endless.
    if (value !== undefined && d.once(8) && !(name in SETTING)) wild(name, value, m, d);
    else return call(m, d);
  };

function exportNamed(name: string): unknown {
  const entry = Object.keys(ENTRIES).findLast((prefix) => name.startsWith(prefix)) ?? '';
  return (ENTRIES[entry] as Record<string, unknown>)[name.slice(entry.length)];
}

/** All calls, in a fixed order: a program names them by their places. */
export const CALLS: readonly (readonly [name: string, call: CallOf])[] = Object.entries<CallOf>({
  ...Object.fromEntries(Object.keys(OPS).map((name) => [name, opCall(name)])),
  ...MAKING,
  ...SETTING,
  ...Object.fromEntries(
    Object.entries(ASKING).map(([name, ask]): [string, CallOf] => [name, (m) => void m.attempt(name, true, ask)]),
  ),
  ...METHODS,
  ...FUNCTIONAL,
  ...Object.fromEntries(Object.keys(MODULES).map((name) => [name, moduleCall(name)])),
  ...NN,
  ...OPTIM,
  ...PLAIN,
}).map(([name, call]) => [name, withAnything(name, call)] as const);
