/** What layers compute on the CUDA device, forward and backward, as JSON: two runs of it are compared by `npm run gpu:check`. */
import { blockShuffleLinear, causalAttention, type DType, linear, lowRankLinear, sum, type Tensor } from '../../lib';
import { Generator } from '../../lib/random';

const results: Record<string, number[]> = {};

for (const dtype of ['float32', 'bfloat16'] satisfies DType[]) {
  const generator = new Generator(7);
  const random = (...shape: number[]): Tensor => {
    const value = generator.normal(shape).as(dtype).to('cuda');
    value.requiresGrad = true;
    return value;
  };
  const note = (name: string, inputs: readonly Tensor[], run: (...inputs: Tensor[]) => Tensor) => {
    const y = run(...inputs);
    sum(y).backward();
    results[`${name} ${dtype}`] = [...y.toArray()];
    inputs.forEach((input, i) => {
      results[`${name} ${dtype}, gradient ${i}`] = [...input.grad!.toArray()];
    });
  };
  note('dense', [random(37, 48), random(56, 48), random(56)], (x, w, b) => linear(x!, w!, b!, { activation: 'gelu' }));
  note('lowrank', [random(70, 64), random(16, 64), random(96, 16)], (x, v, u) => lowRankLinear(x!, v!, u!));
  note('blockshuffle', [random(20, 64), random(4, 16, 16), random(4, 32, 16)], (x, v, u) =>
    blockShuffleLinear(x!, v!, u!),
  );
  note('attention', [random(2, 33, 3 * 64)], (qkv) => causalAttention(qkv!, { heads: 2 }));
}
console.log(JSON.stringify(results));
