/** A Python process with torch; it is sent and answers JSON lines. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Shape } from '../../lib/tensor';
import type { Contender } from '../harness/contender';
import { RivalMissing } from './rival';

/** A tensor in a file of raw values. */
export interface TensorFile {
  readonly file: string;
  readonly shape: Shape;
  readonly dtype: 'float32' | 'int32';
}

type Reply = Readonly<Record<string, unknown>>;

export class PytorchProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #folder = mkdtempSync(join(tmpdir(), 'bench-pytorch-'));
  #count = 0;
  #errors = '';

  private constructor(python: string) {
    this.#child = spawn(python, [join(__dirname, 'pytorch_server.py')], { stdio: 'pipe' });
    this.#child.stderr.on('data', (text) => {
      this.#errors += text;
    });
    // A process that dies is noticed by the end of its output.
    this.#child.on('error', (error) => {
      this.#errors += error.message;
    });
    this.#child.stdin.on('error', () => {});
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** @throws {RivalMissing} when this Python has no torch. */
  static async start(python: string): Promise<PytorchProcess> {
    const started = new PytorchProcess(python);
    try {
      await started.#reply();
    } catch (error) {
      await started.close();
      throw new RivalMissing(String(error).split('\n').at(-1));
    }
    return started;
  }

  async #reply(): Promise<Reply> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`PyTorch's process ended: ${this.#errors.trim()}`);
    const reply: Reply = JSON.parse(value);
    if (reply.error !== undefined) throw new Error(`PyTorch: ${reply.error}`);
    return reply;
  }

  ask(request: Reply): Promise<Reply> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    return this.#reply();
  }

  write(values: Float32Array | Int32Array, shape: Shape): TensorFile {
    const file = join(this.#folder, `${this.#count++}.bin`);
    writeFileSync(file, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return { file, shape, dtype: values instanceof Float32Array ? 'float32' : 'int32' };
  }

  /** Builds an object in the Python process. The files that its spec names are deleted once they are read. */
  async create(
    kind: string,
    { side, variant }: Pick<Contender, 'side' | 'variant'>,
    spec: Reply,
    files: readonly TensorFile[],
  ): Promise<PytorchContender> {
    const id = this.#count++;
    await this.ask({ do: 'create', id, kind, spec });
    for (const { file } of files) rmSync(file);
    return new PytorchContender(this, id, side, variant);
  }

  async outputs(id: number): Promise<Float32Array[]> {
    const file = join(this.#folder, `${this.#count++}.bin`);
    const { lengths } = await this.ask({ do: 'outputs', id, file });
    const bytes = readFileSync(file);
    rmSync(file);
    const all = new Float32Array(new Uint8Array(bytes).buffer);
    let offset = 0;
    return (Array.isArray(lengths) ? lengths : []).map((length: number) => {
      offset += length;
      return all.subarray(offset - length, offset);
    });
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null && this.#child.pid !== undefined)
      await new Promise((resolve) => this.#child.once('close', resolve));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export class PytorchContender implements Contender {
  constructor(
    readonly process: PytorchProcess,
    readonly id: number,
    readonly side: string,
    readonly variant: string,
  ) {}

  outputs(): Promise<readonly Float32Array[]> {
    return this.process.outputs(this.id);
  }

  async sample(milliseconds: number): Promise<readonly number[]> {
    const { samples } = await this.process.ask({ do: 'sample', id: this.id, milliseconds });
    return Array.isArray(samples) ? samples : [];
  }

  /** For a model: how much the process grew since the model was made. */
  async peakBytes(): Promise<number> {
    return Number((await this.process.ask({ do: 'peak', id: this.id })).bytes);
  }

  async close(): Promise<void> {
    await this.process.ask({ do: 'drop', id: this.id });
  }
}
