/** An ONNX graph under construction, and its file. Field numbers are those of onnx.proto; opset 20 has Gelu. */
import { FormatError } from '../errors';
import type { TensorData } from '../io';
import { checkFinite } from '../io/finite';
import { ProtoMessage } from './protobuf';

const IR_VERSION = 9;
const OPSET = 20;
const FLOAT = 1;
const INT64 = 7;
const EXTERNAL = 1;

/** Protocol buffers end at 2 GiB; beyond this size the weights go to another file. */
const LARGEST_MODEL = 2 ** 31 - 2 ** 26;

/** Alignment in the file of weights, so that it can be mapped into memory. */
const PAGE = 4096;

/** An integer, a text, integers, or a 32-bit float. */
type Attribute = number | string | readonly number[] | { readonly float: number };

/** A known dimension, or the name of an unknown one. */
type Dimension = number | string;

/** What is written: the model, and its weights if they do not fit into it. */
export interface OnnxFiles {
  readonly model: readonly Uint8Array[];
  readonly weights: readonly Uint8Array[] | null;
}

export interface OnnxFileOptions {
  /** Name of the file that `weights` go to. */
  readonly weightsFile?: string;
  /** From this many bytes on, weights go to a separate file. */
  readonly largestModel?: number;
}

function attribute(name: string, value: Attribute): ProtoMessage {
  const message = new ProtoMessage().text(1, name);
  if (typeof value === 'number') return message.integer(3, value).integer(20, 2);
  if (typeof value === 'string') return message.text(4, value).integer(20, 3);
  if ('float' in value) return message.float(2, value.float).integer(20, 1);
  for (const item of value) message.integer(8, item);
  return message.integer(20, 7);
}

function valueInfo(name: string, elementType: number, shape: readonly Dimension[]): ProtoMessage {
  const dimensions = new ProtoMessage();
  for (const size of shape)
    dimensions.message(
      1,
      typeof size === 'number' ? new ProtoMessage().integer(1, size) : new ProtoMessage().text(2, size),
    );
  const tensorType = new ProtoMessage().integer(1, elementType).message(2, dimensions);
  return new ProtoMessage().text(1, name).message(2, new ProtoMessage().message(1, tensorType));
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

interface Initializer {
  readonly name: string;
  readonly elementType: number;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

function initializerHeader({ name, elementType, shape }: Initializer): ProtoMessage {
  const message = new ProtoMessage();
  for (const size of shape) message.integer(1, size);
  return message.integer(2, elementType).text(8, name);
}

function externalData(entries: Readonly<Record<string, string | number>>, message: ProtoMessage): ProtoMessage {
  for (const [key, value] of Object.entries(entries))
    message.message(13, new ProtoMessage().text(1, key).text(2, String(value)));
  return message.integer(14, EXTERNAL);
}

/** Values are referred to by their names; every method that makes one returns its name. */
export class OnnxGraph {
  readonly #nodes: ProtoMessage[] = [];
  readonly #weights = new Map<string, Initializer>();
  readonly #constants = new Map<string, Initializer>();
  readonly #inputs: ProtoMessage[] = [];
  readonly #outputs: ProtoMessage[] = [];
  #count = 0;

  constructor(readonly name: string) {}

  /** One operation with one result. */
  node(operation: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    const output = this.#fresh(operation);
    this.#add(operation, inputs, [output], attributes);
    return output;
  }

  /** x cut along an axis into parts of these sizes. */
  split(x: string, sizes: readonly number[], axis: number): string[] {
    const parts = sizes.map(() => this.#fresh('Split'));
    this.#add('Split', [x, this.integers(sizes)], parts, { axis });
    return parts;
  }

  /**
   * Float32 values under a name of their own; the memory is read when the file is written.
   * @throws {FormatError} for values that are not finite.
   */
  weight(name: string, { shape, data }: TensorData): string {
    checkFinite('export', name, data);
    this.#weights.set(name, { name, elementType: FLOAT, shape, bytes: bytesOf(data) });
    return name;
  }

  /** A constant of int64, one-dimensional. */
  integers(values: readonly number[]): string {
    return this.#constant(`int_${values.join('_')}`, INT64, [values.length], BigInt64Array.from(values, BigInt));
  }

  /** A constant of int64 without dimensions. */
  integer(value: number): string {
    return this.#constant(`int_scalar_${value}`, INT64, [], BigInt64Array.of(BigInt(value)));
  }

  /** A constant of float32 without dimensions. */
  float(value: number): string {
    return this.#constant(`float_${value}`, FLOAT, [], Float32Array.of(value));
  }

  input(name: string, type: 'float32' | 'int64', shape: readonly Dimension[]): string {
    this.#inputs.push(valueInfo(name, type === 'int64' ? INT64 : FLOAT, shape));
    return name;
  }

  /** Makes a float32 value a result of the graph, under a given name. */
  output(name: string, value: string, shape: readonly Dimension[]): void {
    this.#add('Identity', [value], [name], {});
    this.#outputs.push(valueInfo(name, FLOAT, shape));
  }

  /** @throws {FormatError} when the model is too large for the format even without its weights. */
  files({ weightsFile = 'weights', largestModel = LARGEST_MODEL }: OnnxFileOptions = {}): OnnxFiles {
    const weights = [...this.#weights.values()];
    const external = weights.reduce((sum, { bytes }) => sum + bytes.length, 0) > largestModel;
    const parts: Uint8Array[] = [];
    let offset = 0;
    const store = (initializer: Initializer): ProtoMessage => {
      const { bytes } = initializer;
      const header = initializerHeader(initializer);
      if (!external) return header.bytes(9, bytes);
      const padding = (PAGE - (offset % PAGE)) % PAGE;
      parts.push(new Uint8Array(padding), bytes);
      const place = { location: weightsFile, offset: offset + padding, length: bytes.length };
      offset += padding + bytes.length;
      return externalData(place, header);
    };
    const graph = new ProtoMessage();
    for (const node of this.#nodes) graph.message(1, node);
    graph.text(2, this.name);
    for (const constant of this.#constants.values())
      graph.message(5, initializerHeader(constant).bytes(9, constant.bytes));
    for (const weight of weights) graph.message(5, store(weight));
    for (const input of this.#inputs) graph.message(11, input);
    for (const output of this.#outputs) graph.message(12, output);
    if (graph.length > LARGEST_MODEL) throw new FormatError(this.name, 'the graph is too large for an ONNX file');
    const opset = new ProtoMessage().text(1, '').integer(2, OPSET);
    const model = new ProtoMessage()
      .integer(1, IR_VERSION)
      .text(2, 'structured-ffn')
      .message(7, graph)
      .message(8, opset);
    return { model: model.parts(), weights: external ? parts : null };
  }

  #fresh(operation: string): string {
    return `${operation}_${this.#count++}`;
  }

  #constant(name: string, elementType: number, shape: readonly number[], values: ArrayBufferView): string {
    if (!this.#constants.has(name)) this.#constants.set(name, { name, elementType, shape, bytes: bytesOf(values) });
    return name;
  }

  #add(
    operation: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>>,
  ): void {
    const node = new ProtoMessage();
    for (const input of inputs) node.text(1, input);
    for (const output of outputs) node.text(2, output);
    node.text(3, `${operation}_${this.#count++}`).text(4, operation);
    for (const [name, value] of Object.entries(attributes)) node.message(5, attribute(name, value));
    this.#nodes.push(node);
  }
}
