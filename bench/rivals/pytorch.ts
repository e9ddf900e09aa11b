/** PyTorch, eager: its dense layers, and the structured ones as the paper's code writes them. */
import type { Contender } from '../harness/contender';
import type { Problem } from '../harness/problem';
import { PytorchProcess, type TensorFile } from './pytorch_process';
import type { Rival } from './rival';

export class Pytorch implements Rival {
  readonly name = 'pytorch';

  private constructor(
    readonly python: string,
    readonly process: PytorchProcess,
  ) {}

  /** @throws {RivalMissing} */
  static async start(python: string): Promise<Pytorch> {
    return new Pytorch(python, await PytorchProcess.start(python));
  }

  async setThreads(count: number): Promise<void> {
    await this.process.ask({ do: 'threads', count });
  }

  create({ phase, copies, tokens, sizes, layers, x, dy, variant }: Problem): Promise<Contender> {
    const files: TensorFile[] = [];
    const write = (values: Float32Array | null, shape: readonly number[] | null) => {
      if (values === null || shape === null) return null;
      const file = this.process.write(values, shape);
      files.push(file);
      return file;
    };
    const weights = layers.map((arrays, i) => {
      const size = sizes[i]!;
      return [write(arrays.v, size.v), write(arrays.u, size.u), write(arrays.bias, [size.outFeatures])];
    });
    const rows = (values: Float32Array) => write(values, [tokens, values.length / tokens]);
    const spec = { phase, copies, x: rows(x), dy: rows(dy), layers: weights };
    return this.process.create('problem', variant, spec, files);
  }

  close(): Promise<void> {
    return this.process.close();
  }
}
