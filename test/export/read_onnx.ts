/** The nodes and initializers of an ONNX file. Field numbers are those of onnx.proto. */
import { readFileSync } from 'node:fs';

export interface OnnxNode {
  readonly operation: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** Length-delimited fields by their numbers; others are passed over. */
function fields(bytes: Buffer): Map<number, Buffer[]> {
  const found = new Map<number, Buffer[]>();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wireType = tag % 8;
    if (wireType === 0) varint();
    else if (wireType === 5) at += 4;
    else {
      const length = varint();
      const field = Math.floor(tag / 8);
      found.set(field, [...(found.get(field) ?? []), bytes.subarray(at, at + length)]);
      at += length;
    }
  }
  return found;
}

const texts = (values: readonly Buffer[] = []): string[] => values.map((value) => value.toString('utf8'));

export function readOnnx(path: string): { nodes: OnnxNode[]; initializers: Set<string> } {
  const graph = fields(fields(readFileSync(path)).get(7)![0]!);
  const nodes = graph.get(1)!.map((bytes): OnnxNode => {
    const node = fields(bytes);
    return { operation: texts(node.get(4))[0]!, inputs: texts(node.get(1)), outputs: texts(node.get(2)) };
  });
  return { nodes, initializers: new Set(graph.get(5)!.map((bytes) => texts(fields(bytes).get(8))[0]!)) };
}
