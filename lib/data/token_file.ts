/** Token files: bare little-endian uint16 or uint32 ids, read in pieces, so that a file may be larger than memory. */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import {
  checkAlive,
  checkChoice,
  checkInteger,
  checkNumber,
  checkNumbers,
  checkPath,
  FormatError,
  IndexError,
} from '../errors';
import { attempt, makeFolder, syncFolder, uniquePart, withFile } from '../io/files';

/** Types of the ids in a token file. */
export type TokenDType = 'uint16' | 'uint32';

const BYTES: Readonly<Record<TokenDType, 2 | 4>> = { uint16: 2, uint32: 4 };

/** The narrowest dtype that holds every id of a vocabulary. */
export function tokenDTypeFor(vocabSize: number): TokenDType {
  checkInteger('tokenDTypeFor: vocabSize', vocabSize, 0);
  return vocabSize <= 65536 ? 'uint16' : 'uint32';
}

/** Reads a token file in pieces. */
export class TokenFile implements Disposable {
  /** Number of tokens. */
  readonly length: number;
  readonly #file: number;
  readonly #bytes: 2 | 4;
  #open = true;

  /**
   * @throws {FileError} when it cannot be read. @throws {FormatError} when its size is not a whole number of tokens.
   */
  constructor(
    /** The file. */
    readonly path: string,
    /** Type of its ids. */
    readonly dtype: TokenDType = 'uint16',
  ) {
    checkPath('TokenFile: path', path);
    checkChoice('TokenFile: dtype', dtype, ['uint16', 'uint32']);
    this.#bytes = BYTES[dtype];
    this.#file = withFile('read', path, () => openSync(path, 'r'));
    const { size } = fstatSync(this.#file);
    this.length = size / this.#bytes;
    if (!Number.isInteger(this.length)) {
      this.close();
      throw new FormatError(path, `${size} bytes are not a whole number of ${dtype} tokens`);
    }
  }

  /** Tokens start .. start + count - 1. @throws {IndexError} beyond the file. */
  read(start: number, count: number): Uint16Array | Uint32Array {
    checkAlive('TokenFile.read', !this.#open);
    checkNumber('TokenFile.read: start', start);
    checkNumber('TokenFile.read: count', count);
    if (!Number.isInteger(start) || !Number.isInteger(count) || start < 0 || count < 0 || start + count > this.length)
      throw new IndexError(this.path, `tokens of 0 .. ${this.length - 1}`, `${start} .. ${start + count - 1}`);
    const bytes = new Uint8Array(count * this.#bytes);
    withFile('read', this.path, () => {
      for (let at = 0; at < bytes.length; ) {
        const got = readSync(this.#file, bytes, at, bytes.length - at, start * this.#bytes + at);
        if (got === 0) throw new FormatError(this.path, 'it became shorter while it was read');
        at += got;
      }
    });
    return this.#bytes === 2 ? new Uint16Array(bytes.buffer) : new Uint32Array(bytes.buffer);
  }

  /**
   * CRC-32 of the tokens: of all of them up to `most` bytes, else of `most` bytes in pieces from all over the file.
   */
  checksum(most = 1 << 29): number {
    checkAlive('TokenFile.checksum', !this.#open);
    checkInteger('TokenFile.checksum: most', most, 0);
    const piece = 1 << 16;
    const pieces = Math.ceil(this.length / piece);
    const taken = Math.min(pieces, Math.floor(most / (piece * this.#bytes)));
    let sum = 0;
    for (let i = 0; i < taken; i++) {
      const start = Math.floor((i * pieces) / taken) * piece;
      sum = crc32(this.read(start, Math.min(piece, this.length - start)), sum);
    }
    return sum;
  }

  /** The whole file in pieces of at most `size` tokens. */
  pieces(size = 1 << 20): Generator<Uint16Array | Uint32Array> {
    checkAlive('TokenFile.pieces', !this.#open);
    checkInteger('TokenFile.pieces: size', size);
    return this.#pieces(size);
  }

  *#pieces(size: number): Generator<Uint16Array | Uint32Array> {
    for (let start = 0; start < this.length; start += size) yield this.read(start, Math.min(size, this.length - start));
  }

  /** Closes the file. */
  close(): void {
    if (this.#open) closeSync(this.#file);
    this.#open = false;
  }

  /** The same, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Writes a token file as tokens come; the file gets its name when it is complete. */
export class TokenWriter {
  readonly #temporary: string;
  /** Null once it is closed: its number may be another file's by then. */
  #file: number | null;
  #complete = false;
  #length = 0;

  constructor(
    /** The file. */
    readonly path: string,
    /** Type of its ids. */
    readonly dtype: TokenDType,
  ) {
    checkPath('TokenWriter: path', path);
    checkChoice('TokenWriter: dtype', dtype, ['uint16', 'uint32']);
    this.#temporary = `${path}.${uniquePart()}.tmp`;
    this.#file = withFile('write', path, () => {
      makeFolder(dirname(path));
      return openSync(this.#temporary, 'wx');
    });
  }

  /** Tokens written so far. */
  get length(): number {
    return this.#length;
  }

  /** @throws {IndexError} for an id that the dtype cannot hold. @throws {DisposedError} after `close` or `abort`. */
  write(ids: ArrayLike<number>): void {
    const file = this.#open('write');
    checkNumbers('TokenWriter.write: ids', ids);
    const most = this.dtype === 'uint16' ? 65535 : 2 ** 32 - 1;
    const tokens = this.dtype === 'uint16' ? new Uint16Array(ids.length) : new Uint32Array(ids.length);
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (!Number.isInteger(id) || id < 0 || id > most)
        throw new IndexError(`${this.path}: token ${this.#length + i}`, `an id of 0 .. ${most}`, id);
      tokens[i] = id;
    }
    const bytes = new Uint8Array(tokens.buffer);
    withFile('write', this.path, () => {
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
    });
    this.#length += ids.length;
  }

  /** Completes the file; calling it again is harmless. @throws {DisposedError} after `abort`. */
  close(): void {
    if (this.#complete) return;
    const file = this.#open('close');
    withFile('write', this.path, () => {
      fsyncSync(file);
      this.#closeFile();
      renameSync(this.#temporary, this.path);
      this.#complete = true;
      syncFolder(dirname(this.path));
    });
  }

  /** Gives the file up and leaves nothing on disk; harmless after `close` and after another `abort`. */
  abort(): void {
    attempt(() => this.#closeFile());
    attempt(() => rmSync(this.#temporary, { force: true }));
  }

  #open(method: string): number {
    checkAlive(`TokenWriter.${method}`, this.#file === null);
    return this.#file!;
  }

  #closeFile(): void {
    const file = this.#file;
    this.#file = null;
    if (file !== null) closeSync(file);
  }
}
