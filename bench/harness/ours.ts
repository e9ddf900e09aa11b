/** Our own side, through the public ops: the cost of a user's call, including the allocation of results. */
import { noGrad } from '../../lib/autograd';
import { feedForward, type LinearWeights, structuredLinear } from '../../lib/ops';
import { tidy } from '../../lib/scope';
import { type Tensor, tensor } from '../../lib/tensor';
import { type Contender, waitFor } from './contender';
import { copiesOf, type Problem } from './problem';
import { timeCalls } from './sampling';
import { ON_CPU, type Placement, sideOf } from './side';

interface Copy {
  readonly weights: readonly LinearWeights[];
  readonly leaves: readonly Tensor[];
}

class OurContender implements Contender {
  readonly side: string;
  readonly #x: Tensor;
  readonly #dy: Tensor;
  readonly #copies: readonly Copy[];
  #next = 0;

  constructor(
    readonly problem: Problem,
    readonly placement: Placement,
    readonly variant = problem.variant,
  ) {
    this.side = sideOf(placement);
    const { sizes, layers, tokens } = problem;
    const requiresGrad = problem.phase !== 'forward';
    this.#x = tensor(problem.x, [tokens, problem.x.length / tokens], { ...placement, requiresGrad });
    this.#dy = tensor(problem.dy, [tokens, problem.dy.length / tokens], placement);
    this.#copies = Array.from({ length: copiesOf(problem, placement.dtype) }, () => {
      const leaves: Tensor[] = [];
      const leaf = (values: Float32Array, shape: readonly number[]) => {
        leaves.push(tensor(values, shape, { ...placement, requiresGrad }));
        return leaves[leaves.length - 1]!;
      };
      const weights = sizes.map(({ v, u, outFeatures }, i) => {
        const arrays = layers[i]!;
        return {
          v: v && arrays.v && leaf(arrays.v, v),
          u: leaf(arrays.u, u),
          bias: arrays.bias && leaf(arrays.bias, [outFeatures]),
        };
      });
      return { weights, leaves };
    });
  }

  #apply({ weights }: Copy): Tensor {
    const [first, second] = weights;
    if (first && second) return feedForward(this.#x, first, second, 'gelu');
    return structuredLinear(this.#x, first!);
  }

  /** One call; `see` gets the results before they are freed. */
  #call(see?: (results: readonly Tensor[]) => void): void {
    const copy = this.#copies[this.#next++ % this.#copies.length]!;
    if (this.problem.phase === 'forward') {
      noGrad(() =>
        tidy(() => {
          const y = this.#apply(copy);
          see?.([y]);
        }),
      );
      return;
    }
    tidy(() => {
      const y = this.#apply(copy);
      y.backward(this.#dy);
      see?.([y, ...[this.#x, ...copy.leaves].map(({ grad }) => grad!)]);
    });
    for (const leaf of [this.#x, ...copy.leaves]) {
      leaf.grad?.dispose();
      leaf.grad = null;
    }
  }

  async outputs(): Promise<readonly Float32Array[]> {
    let arrays: readonly Float32Array[] = [];
    this.#call((results) => {
      arrays = results.map((result) => Float32Array.from(result.toArray()));
    });
    return arrays;
  }

  sample(milliseconds: number): Promise<readonly number[]> {
    return timeCalls(() => {
      this.#call();
      waitFor(this.placement);
    }, milliseconds);
  }

  async close(): Promise<void> {
    for (const { leaves } of this.#copies) for (const leaf of leaves) leaf.dispose();
    this.#x.dispose();
    this.#dy.dispose();
  }
}

export const ourContender = (problem: Problem, placement = ON_CPU): Contender => new OurContender(problem, placement);
