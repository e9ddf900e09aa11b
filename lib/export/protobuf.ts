/**
 * Writes protocol buffer messages: the three wire types that ONNX files need. Large byte fields are referred to, not
 * copied.
 */

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** From this many bytes on a field stays a separate part. */
const LARGE = 1 << 16;

function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = [];
  // Negative numbers are ten bytes of two's complement.
  let left = BigInt.asUintN(64, BigInt(value));
  for (; left > 0x7fn; left >>= 7n) bytes.push(Number(left & 0x7fn) | 0x80);
  bytes.push(Number(left));
  return Uint8Array.from(bytes);
}

/** Fields in the order in which they are added. */
export class ProtoMessage {
  #parts: Uint8Array[] = [];
  #length = 0;

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  integer(field: number, value: number): this {
    return this.#tag(field, VARINT).#add(varint(value));
  }

  /** A 32-bit float. */
  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.#tag(field, FIXED32).#add(bytes);
  }

  bytes(field: number, value: Uint8Array): this {
    return this.#tag(field, LENGTH_DELIMITED).#add(varint(value.length)).#add(value);
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, 'utf8'));
  }

  message(field: number, value: ProtoMessage): this {
    this.#tag(field, LENGTH_DELIMITED).#add(varint(value.#length));
    for (const part of value.#parts) this.#add(part);
    return this;
  }

  /** The message as a few parts, one after the other. */
  parts(): Uint8Array[] {
    const joined: Uint8Array[] = [];
    let small: Uint8Array[] = [];
    const flush = () => {
      if (small.length > 0) joined.push(Buffer.concat(small));
      small = [];
    };
    for (const part of this.#parts) {
      if (part.length < LARGE) small.push(part);
      else {
        flush();
        joined.push(part);
      }
    }
    flush();
    return joined;
  }

  #tag(field: number, wireType: number): this {
    return this.#add(varint(field * 8 + wireType));
  }

  #add(part: Uint8Array): this {
    this.#parts.push(part);
    this.#length += part.length;
    return this;
  }
}
