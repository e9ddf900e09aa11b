/** PyTorch: its dense layers, and the structured ones as the paper's code writes them, in every way that people run it. */

import type { Shape } from '../../lib/tensor';
import type { Contender } from '../harness/contender';
import { copiesOf, type Problem } from '../harness/problem';
import { type Placement, type Precision, sideName } from '../harness/side';
import { type PytorchContender, PytorchProcess, type TensorFile } from './pytorch_process';
import type { Rival } from './rival';

/** How PyTorch computes in a precision, apart from eager or compiled. */
export interface Way {
  readonly precision: Precision;
  /** Float32 tensors, of which products take copies in bfloat16. */
  readonly autocast: boolean;
  /** Of weights and inputs. */
  readonly tensors: Placement['dtype'];
}

const WAYS: readonly Way[] = [
  { precision: 'float32', autocast: false, tensors: 'float32' },
  { precision: 'bfloat16', autocast: true, tensors: 'float32' },
  { precision: 'bfloat16', autocast: false, tensors: 'bfloat16' },
];

/** What the process can make; training needs weights in float32. */
const KINDS = {
  problem: WAYS,
  decoder: WAYS,
  prompt: WAYS,
  model: WAYS.filter(({ tensors }) => tensors === 'float32'),
} as const;

type Write = (values: Float32Array | Int32Array, shape: Shape) => TensorFile;

export class Pytorch implements Rival {
  private constructor(
    readonly python: string,
    readonly compiled: boolean,
    readonly process: PytorchProcess,
  ) {}

  /** @throws {RivalMissing} */
  static async start(python: string, compiled: boolean): Promise<Pytorch> {
    return new Pytorch(python, compiled, await PytorchProcess.start(python));
  }

  get name(): string {
    return this.compiled ? 'pytorch-compiled' : 'pytorch';
  }

  async setThreads(count: number): Promise<void> {
    await this.process.ask({ do: 'threads', count });
  }

  /** One for each way of these precisions; `specOf` writes the tensors that the ways share. */
  async contenders(
    kind: keyof typeof KINDS,
    variant: string,
    precisions: readonly Precision[],
    specOf: (write: Write, way: Way) => object,
  ): Promise<PytorchContender[]> {
    const made: PytorchContender[] = [];
    for (const way of KINDS[kind].filter(({ precision }) => precisions.includes(precision))) {
      const { precision, autocast, tensors } = way;
      const side = sideName(
        'pytorch',
        precision,
        ...(this.compiled ? ['compiled'] : []),
        ...(autocast ? ['autocast'] : []),
      );
      const files: TensorFile[] = [];
      const write: Write = (values, shape) => {
        const file = this.process.write(values, shape);
        files.push(file);
        return file;
      };
      const spec = { ...specOf(write, way), way: { compiled: this.compiled, autocast, tensors } };
      made.push(await this.process.create(kind, { side, variant }, spec, files));
    }
    return made;
  }

  create(problem: Problem, precisions: readonly Precision[]): Promise<readonly Contender[]> {
    const { phase, tokens, sizes, layers, x, dy, variant } = problem;
    return this.contenders('problem', variant, precisions, (write, { tensors }) => {
      const optional = (values: Float32Array | null, shape: Shape | null) => values && shape && write(values, shape);
      const weights = layers.map((arrays, i) => {
        const size = sizes[i]!;
        return [optional(arrays.v, size.v), write(arrays.u, size.u), optional(arrays.bias, [size.outFeatures])];
      });
      const rows = (values: Float32Array) => write(values, [tokens, values.length / tokens]);
      return { phase, copies: copiesOf(problem, tensors), x: rows(x), dy: rows(dy), layers: weights };
    });
  }

  close(): Promise<void> {
    return this.process.close();
  }
}
