/** One line at the bottom of a terminal that is redrawn; other lines go above it. It never moves the cursor up. */
import type { WriteStream } from 'node:tty';
import pc from 'picocolors';

/** Milliseconds between two drawings. */
const INTERVAL = 100;
const MOST_CELLS = 40;
const LEAST_CELLS = 5;

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
const TO_START = '\r\u001b[K';

export class Bar {
  #drawn = Number.NEGATIVE_INFINITY;
  #part = 0;
  #text: string | null = null;
  readonly #showCursor = () => this.#stream.write(SHOW_CURSOR);
  readonly #stream: WriteStream;

  constructor(stream: WriteStream) {
    this.#stream = stream;
  }

  /** @param part done, from 0 to 1. @param text what stands next to the bar. */
  update(part: number, text: string): void {
    if (this.#text === null) {
      this.#stream.write(HIDE_CURSOR);
      process.on('exit', this.#showCursor);
    }
    this.#part = part;
    this.#text = text;
    if (performance.now() - this.#drawn >= INTERVAL) this.#draw();
  }

  /** A line above the bar. */
  say(line: string): void {
    this.#stream.write(this.#text === null ? `${line}\n` : `${TO_START}${line}\n`);
    this.#draw();
  }

  /** Leaves the bar as it is now as an ordinary line. */
  end(): void {
    if (this.#text === null) return;
    this.#draw();
    this.#stream.write(`\n${SHOW_CURSOR}`);
    process.off('exit', this.#showCursor);
    this.#text = null;
  }

  /** Less than a whole line: a terminal wraps a full one. */
  #draw(): void {
    if (this.#text === null) return;
    this.#drawn = performance.now();
    const width = (this.#stream.columns || 80) - 1;
    const text = this.#text.slice(0, width);
    const cells = Math.min(MOST_CELLS, width - text.length - 1);
    const full = Math.floor(this.#part * cells);
    const bar = cells < LEAST_CELLS ? '' : `${pc.cyan('█'.repeat(full) + '░'.repeat(cells - full))} `;
    this.#stream.write(`${TO_START}${bar}${text}`);
  }
}
