/**
 * Aligned, typical calls whose memory accesses `npm run cuda:report` counts on the PTX executor. `--list` prints their names, a
 * name runs one.
 */
import {
  blockShuffleLinear,
  causalAttention,
  crossEntropy,
  type DType,
  feedForward,
  layerNorm,
  linear,
  lowRankLinear,
  setCudaTf32,
  softmax,
  sum,
  type Tensor,
  tensor,
} from '../../lib';
import { Generator } from '../../lib/random';

const generator = new Generator(1);
const drawn = (dtype: DType, shape: readonly number[]): Tensor => {
  const value = generator.normal(shape).as(dtype).to('cuda');
  value.requiresGrad = true;
  return value;
};
const random = (...shape: number[]): Tensor => drawn('bfloat16', shape);
const random32 = (...shape: number[]): Tensor => drawn('float32', shape);
const forward = (run: () => Tensor) => () => void run();
const both = (run: () => Tensor) => () => sum(run()).backward();

const [TOKENS, WIDTH, OUT] = [256, 256, 512];
const WORKLOADS: Record<string, () => void> = {
  'dense forward': forward(() =>
    linear(random(TOKENS, WIDTH), random(OUT, WIDTH), random(OUT), { activation: 'gelu' }),
  ),
  'dense forward and backward': both(() => linear(random(TOKENS, WIDTH), random(OUT, WIDTH))),
  'lowrank forward': forward(() => lowRankLinear(random(TOKENS, WIDTH), random(128, WIDTH), random(OUT, 128))),
  'dense forward and backward, float32': both(() => linear(random32(TOKENS, 128), random32(128, 128))),
  'dense and blockshuffle forward and backward, TF32': () => {
    setCudaTf32(true);
    sum(linear(random32(TOKENS, 256), random32(256, 256))).backward();
    sum(linear(random32(TOKENS, 64), random32(32, 64))).backward();
    sum(blockShuffleLinear(random32(TOKENS, 128), random32(4, 32, 32), random32(4, 32, 32))).backward();
  },
  'blockshuffle forward and backward, float32': both(() =>
    blockShuffleLinear(random32(TOKENS, 128), random32(4, 32, 32), random32(4, 32, 32)),
  ),
  'blockshuffle forward': forward(() =>
    blockShuffleLinear(random(TOKENS, WIDTH), random(4, 64, 64), random(4, OUT / 4, 64)),
  ),
  'blockshuffle forward and backward': both(() =>
    blockShuffleLinear(random(TOKENS, WIDTH), random(4, 64, 64), random(4, OUT / 4, 64)),
  ),
  'lowrank forward of 8704 tokens': forward(() =>
    lowRankLinear(random(8704, WIDTH), random(256, WIDTH), random(256, 256)),
  ),
  'blockshuffle forward of 2048 tokens': forward(() =>
    blockShuffleLinear(random(2048, WIDTH), random(4, 64, 64), random(4, 1024, 64), random(4096), {
      activation: 'gelu',
    }),
  ),
  'blockshuffle forward of 8448 tokens': forward(() =>
    blockShuffleLinear(random(8448, WIDTH), random(4, 64, 64), random(4, 64, 64), random(WIDTH)),
  ),
  'blockshuffle network of 4096 tokens': () => {
    const [width, hidden, tokens] = [256, 512, 4096];
    const layer = (inFeatures: number, outFeatures: number) => ({
      v: random(4, 64, inFeatures / 4),
      u: random(4, outFeatures / 4, 64),
    });
    sum(feedForward(random(tokens, width), layer(width, hidden), layer(hidden, width), 'gelu')).backward();
  },
  'one token': forward(() => lowRankLinear(random(1, 1024), random(256, 1024), random(1024, 256))),
  'eight tokens': forward(() => lowRankLinear(random(8, 1024), random(256, 1024), random(1024, 256))),
  'layer norm': both(() => layerNorm(random(64, 1024), random(1024), random(1024))),
  softmax: both(() => softmax(random(64, 1024))),
  'attention of two heads': both(() => causalAttention(random(1, 256, 3 * 128), { heads: 2 })),
  'cross entropy': both(() =>
    crossEntropy(random(64, 1024), tensor(new Int32Array(64).fill(3), [64], { device: 'cuda' })),
  ),
};

// A kernel for each size of head and type: of 256 they are different ones.
for (const size of [32, 64, 128, 256])
  for (const [dtype, make] of [['bfloat16', random] as const, ['float32', random32] as const])
    WORKLOADS[`attention, heads of ${size}, ${dtype}`] = both(() =>
      causalAttention(make(1, 128, 3 * size), { heads: 1 }),
    );

const [name = ''] = process.argv.slice(2);
if (name === '--list') console.log(Object.keys(WORKLOADS).join('\n'));
else WORKLOADS[name]!();
