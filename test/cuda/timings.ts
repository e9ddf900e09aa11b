/** Six shapes timed on the CUDA device, for `npm run gpu:check`: forward, bf16, medians of 20 after 5 to warm up. */
import { blockShuffleLinear, linear, lowRankLinear, noGrad, synchronize, type Tensor, tidy } from '../../lib';
import { Generator } from '../../lib/random';

const generator = new Generator(1);
const random = (...shape: number[]): Tensor => generator.normal(shape).as('bfloat16').to('cuda');

function milliseconds(run: () => Tensor): number {
  const times = Array.from({ length: 25 }, () => {
    synchronize();
    const start = performance.now();
    noGrad(() => tidy(() => void run()));
    synchronize();
    return performance.now() - start;
  });
  return times.slice(5).sort((a, b) => a - b)[10]!;
}

for (const [width, tokens] of [
  [1024, 8192],
  [2048, 8192],
] as const) {
  const [out, rank, blocks] = [4 * width, width / 4, 4];
  const x = random(tokens, width);
  const layers: [string, number, () => Tensor][] = [];
  const weight = random(out, width);
  layers.push(['dense', 2 * tokens * out * width, () => linear(x, weight)]);
  const [v, u] = [random(rank, width), random(out, rank)];
  layers.push(['lowrank', 2 * tokens * rank * (width + out), () => lowRankLinear(x, v, u)]);
  const [bv, bu] = [random(blocks, width / blocks, width / blocks), random(blocks, out / blocks, width / blocks)];
  layers.push([
    'blockshuffle',
    (2 * tokens * (width * width + out * width)) / blocks,
    () => blockShuffleLinear(x, bv, bu),
  ]);
  for (const [name, flops, run] of layers) {
    const time = milliseconds(run);
    const rate = (flops / time / 1e9).toFixed(1);
    console.log(`gpu:check: ${name} ${width} → ${out}, ${tokens} tokens: ${time.toFixed(3)} ms, ${rate} TFLOP/s`);
  }
}
