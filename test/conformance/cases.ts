/** What a reference file asks for, computed by the library and compared tensor by tensor. */
import { basename } from 'node:path';
import { FormatError } from '../../lib/errors';
import {
  defineFeedForward,
  defineLinear,
  type FactorSpec,
  type FeedForwardGradients,
  type LinearArrays,
  type LinearGradients,
} from '../../lib/functional';
import { loadSafetensors } from '../../lib/io';
import { ACTIVATIONS, type Activation } from '../../lib/ops/activation';
import { relativeError } from '../support/check_op';

/** Largest ‖ours − ref‖ / ‖ref‖ in float32. */
export const LIMITS = { forward: 1e-5, gradient: 2e-5 } as const;

/** test/fixtures/reference/README.md says which tensors there are. */
interface ReferenceFile {
  readonly path: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, ReferenceTensor>;
}

interface ReferenceTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface Comparison {
  readonly tensor: string;
  readonly error: number;
  readonly limit: number;
}

/** Names and values of what the library computed. */
type Computed = ReadonlyMap<string, Float32Array | undefined>;

export interface Case {
  readonly name: string;
  /** Computes everything on the instruction set in use. */
  readonly compute: () => Computed;
  /** As compute, by the asynchronous calls. */
  readonly computeAsync: () => Promise<Computed>;
  /** One line per tensor that the file expects. */
  readonly compare: (computed: Computed) => Comparison[];
}

/** One layer of a file: its tensors are named `prefix` + v, u, bias, w (the guide). */
interface FileLayer {
  readonly spec: FactorSpec;
  readonly arrays: LinearArrays;
}

/** @throws {FormatError} */
function readReferenceFile(path: string): ReferenceFile {
  const { metadata, tensors } = loadSafetensors(path);
  const floats = [...tensors].map(([name, { shape, data }]): [string, ReferenceTensor] => {
    if (data instanceof Int32Array) throw new FormatError(path, `${name} holds integers`);
    return [name, { shape, data }];
  });
  return { path, metadata, tensors: new Map(floats) };
}

function take(file: ReferenceFile, name: string): ReferenceTensor {
  const tensor = file.tensors.get(name);
  if (tensor === undefined) throw new FormatError(file.path, `no tensor ${name}`);
  return tensor;
}

function layerOf(file: ReferenceFile, prefix: string): FileLayer {
  const v = file.tensors.get(`${prefix}v`);
  const u = take(file, `${prefix}u`);
  const guide = file.tensors.get(`${prefix}w`);
  const alpha = file.metadata.get('alpha');
  return {
    spec: { v: v?.shape ?? null, u: u.shape },
    arrays: {
      v: v?.data,
      u: u.data,
      bias: file.tensors.get(`${prefix}bias`)?.data,
      guide: guide?.data,
      alpha: guide ? Number(alpha) : undefined,
    },
  };
}

const gradientsOf = (prefix: string, g: LinearGradients): [string, Float32Array | undefined][] => [
  [`d${prefix}v`, g.dv],
  [`d${prefix}u`, g.du],
  [`d${prefix}bias`, g.dbias],
  [`d${prefix}w`, g.dguide],
];

function activationOf(file: ReferenceFile, fallback: Activation): Activation {
  const name = file.metadata.get('activation') || fallback;
  const activation = ACTIVATIONS.find((known) => known === name);
  if (activation === undefined) throw new FormatError(file.path, `unknown activation ${name}`);
  return activation;
}

function linearCase(file: ReferenceFile): Pick<Case, 'compute' | 'computeAsync'> {
  const { spec, arrays } = layerOf(file, '');
  const layer = defineLinear({ ...spec, activation: activationOf(file, 'none') });
  const inputs = { x: take(file, 'x').data, ...arrays };
  const dy = take(file, 'g').data;
  const merged = () => (spec.v === null ? undefined : layer.merge(arrays));
  const named = (y: Float32Array, g: LinearGradients) =>
    new Map([['y', y], ['merged', merged()], ['dx', g.dx], ...gradientsOf('', g)]);
  return {
    compute: () => {
      const { y, saved } = layer.forward(inputs, { training: true });
      return named(y, layer.backward({ dy, ...inputs, saved }));
    },
    computeAsync: async () => {
      const { y, saved } = await layer.forwardAsync(inputs, { training: true });
      return named(y, await layer.backwardAsync({ dy, ...inputs, saved }));
    },
  };
}

function feedForwardCase(file: ReferenceFile): Pick<Case, 'compute' | 'computeAsync'> {
  const [fc1, fc2] = [layerOf(file, 'fc1.'), layerOf(file, 'fc2.')];
  const network = defineFeedForward({ fc1: fc1.spec, fc2: fc2.spec, activation: activationOf(file, 'gelu') });
  const inputs = { x: take(file, 'x').data, fc1: fc1.arrays, fc2: fc2.arrays };
  const dy = take(file, 'g').data;
  const named = (y: Float32Array, g: FeedForwardGradients) =>
    new Map([['y', y], ['dx', g.dx], ...gradientsOf('fc1.', g.fc1), ...gradientsOf('fc2.', g.fc2)]);
  return {
    compute: () => {
      const { y, saved } = network.forward(inputs, { training: true });
      return named(y, network.backward({ dy, ...inputs, saved }));
    },
    computeAsync: async () => {
      const { y, saved } = await network.forwardAsync(inputs, { training: true });
      return named(y, await network.backwardAsync({ dy, ...inputs, saved }));
    },
  };
}

const INPUT = /^(x|g|(fc[12]\.)?(v|u|bias|w))$/;

/** @throws {FormatError} for a file that is no reference case; errors of the library for sizes that do not fit. */
export function readCase(path: string): Case {
  const file = readReferenceFile(path);
  const expected = [...file.tensors].filter(([name]) => !INPUT.test(name));
  if (!file.tensors.has('y')) throw new FormatError(path, 'no tensor y');
  const compare = (computed: Computed): Comparison[] =>
    expected.map(([tensor, { data }]) => {
      const ours = computed.get(tensor);
      if (ours === undefined) throw new FormatError(path, `${tensor} is nothing that this layer computes`);
      return {
        tensor,
        error: relativeError(ours, data),
        limit: tensor === 'y' || tensor === 'merged' ? LIMITS.forward : LIMITS.gradient,
      };
    });
  const isNetwork = file.tensors.has('fc1.u');
  return { name: basename(path, '.safetensors'), compare, ...(isNetwork ? feedForwardCase(file) : linearCase(file)) };
}
