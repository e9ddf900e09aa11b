/** Text to token ids and back. */

export interface Tokenizer {
  /** `byte`, or the path of the tokenizer.json it came from. */
  readonly name: string;
  readonly vocabSize: number;
  /** The id put between documents; null where the vocabulary has none. */
  readonly endOfText: number | null;
  encode(text: string): Uint32Array;
  /** Ids that stand for no text (end of text) give none. */
  decode(ids: Iterable<number>): string;
}

/** Every UTF-8 byte is a token, 256 is the end of text: no training, no unknown character, lossless. */
export class ByteTokenizer implements Tokenizer {
  readonly name = 'byte';
  readonly vocabSize = 257;
  readonly endOfText = 256;

  encode(text: string): Uint32Array {
    return Uint32Array.from(Buffer.from(text, 'utf8'));
  }

  decode(ids: Iterable<number>): string {
    return Buffer.from([...ids].filter((id) => id < 256)).toString('utf8');
  }
}

/** Turns ids into text as they come, and never shows half a character. */
export class StreamingDecoder {
  readonly #tokenizer: Tokenizer;
  readonly #ids: number[] = [];
  #shown = 0;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The text that `id` completes; empty while a character is unfinished. */
  push(id: number): string {
    this.#ids.push(id);
    const text = this.#tokenizer.decode(this.#ids);
    return text.endsWith('\uFFFD') ? '' : this.#show(text);
  }

  /** What is left at the end, unfinished characters replaced. */
  end(): string {
    return this.#show(this.#tokenizer.decode(this.#ids));
  }

  #show(text: string): string {
    const fresh = text.slice(this.#shown);
    this.#shown = text.length;
    return fresh;
  }
}
