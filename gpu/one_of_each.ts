/**
 * Stages c and g: the main kernels once each, small for compute-sanitizer, at a size that fills the device for ncu.
 * Prints the name of each part when it is done.
 */
import {
  blockDenseLinear,
  blockShuffleLinear,
  causalAttention,
  feedForward,
  layerNorm,
  linear,
  lowRankLinear,
  setCudaTf32,
  sum,
  type Tensor,
  tensor,
  tidy,
} from '../lib';
import { Decoder } from '../lib/decode';
import { TransformerLM } from '../lib/nn';
import { AdamW } from '../lib/optim';
import { DONE, PARTS, type Part } from './parts';
import { RepeatedDraws } from './support/draws';
import { Script } from './support/options';
import { settle } from './support/timing';

const script = new Script();
const { device, dtype, size } = script;
const generator = new RepeatedDraws(1);

const random = (...shape: number[]): Tensor => {
  const value = generator
    .normal(shape, 0, 1 / Math.sqrt(shape.at(-1)!))
    .as(dtype)
    .to(device);
  value.requiresGrad = true;
  return value;
};
const pick = <T>(full: T, small: T, tiny: T): T => (size === 'full' ? full : size === 'small' ? small : tiny);
const both = (run: () => Tensor) => tidy(() => sum(run()).backward());

// More tokens than whole tiles.
const [T, D] = pick([4096, 2048], [264, 256], [40, 128]);
const [F, R, B] = [4 * D, D / 4, 4];
const vocabSize = pick(32_000, 300, 50);
const config = { dModel: pick(1024, 128, 32), nLayers: 2, nHeads: pick(8, 2, 2), vocabSize, seqLen: 256 };
const ids = (count: number): number[] => Array.from({ length: count }, (_, i) => (31 * i) % vocabSize);

function trainingSteps(): void {
  const ffn = { structure: 'blockshuffle', nblocks: 4, init: 'xavier' } as const;
  const model = new TransformerLM({ ...config, ffn }, { generator });
  model.to(device, dtype);
  const optimizer = new AdamW(model.namedParameters());
  const [batch, seq] = pick([16, 256], [1, 256], [1, 24]);
  const tokens = tensor(Int32Array.from(ids(batch * seq)), [batch, seq], { device });
  for (let i = 0; i < 2; i++) {
    tidy(() => model.loss(tokens, tokens).backward(null, { releaseGraph: true }));
    const { gradNorm } = optimizer.step({ lr: 1e-3, maxGradNorm: 1 });
    if (!Number.isFinite(gradNorm)) throw new Error(`the norm of the gradients is ${gradNorm}`);
    optimizer.zeroGrad();
  }
}

async function decodingSteps(): Promise<void> {
  const wide = { ...config, dModel: pick(2048, 128, 32), nHeads: pick(16, 2, 2), seqLen: 1024 };
  const model = new TransformerLM(wide, { generator }).to(device).eval();
  using decoder = new Decoder(model, { dtype: 'bfloat16' });
  const sequence = decoder.sequence();
  // More than the 256 tokens that a block of threads takes.
  await decoder.prefill(sequence, ids(pick(600, 70, 10)));
  for (let i = 0; i < 3; i++) await decoder.step([{ sequence, ids: [3] }]);
}

const RUN: Readonly<Record<Part, () => void | Promise<void>>> = {
  dense: () => both(() => linear(random(T, D), random(F, D), random(F), { activation: 'gelu' })),
  lowrank: () => both(() => lowRankLinear(random(T, D), random(R, D), random(F, R))),
  blockdense: () => both(() => blockDenseLinear(random(T, D), random(B, R / B, D / B), random(F, R))),
  blockshuffle: () => both(() => blockShuffleLinear(random(T, D), random(B, D / B, D / B), random(B, F / B, D / B))),
  // Interleaved blocks; all blocks of a token in one launch.
  interleaved: () => {
    const [tokens, width] = pick([16_896, 256], [512, 256], [64, 16]);
    const square = () => random(B, width, width);
    both(() => blockShuffleLinear(random(tokens, B * width), square(), square(), random(B * width)));
  },
  network: () => {
    const [fc1, fc2] = [
      { v: random(B, D / B, D / B), u: random(B, F / B, D / B) },
      { v: random(B, D / B, F / B), u: random(B, D / B, D / B) },
    ];
    both(() => feedForward(random(T, D), fc1, fc2, 'gelu'));
  },
  attention: () => both(() => causalAttention(random(pick(4, 1, 1), pick(1024, 200, 40), 3 * D), { heads: D / 128 })),
  norm: () => both(() => layerNorm(random(T, D), random(D), random(D))),
  float32: () => {
    for (const tf32 of device === 'cuda' ? [true, false] : [false]) {
      if (device === 'cuda') setCudaTf32(tf32);
      tidy(() => {
        const [a, b] = [generator.normal([T / 2, D]).to(device), generator.normal([D, D]).to(device)];
        for (const leaf of [a, b]) leaf.requiresGrad = true;
        sum(linear(a, b)).backward();
      });
    }
  },
  optimizer: () =>
    tidy(() => {
      const weights = [random(F, D), random(D, F)];
      for (const w of weights) sum(w).backward();
      const optimizer = new AdamW(new Map(weights.map((w, i) => [`w${i}`, w])));
      optimizer.step({ lr: 1e-3, maxGradNorm: 1 });
      optimizer.dispose();
    }),
  training: trainingSteps,
  decoding: decodingSteps,
};

async function main(): Promise<void> {
  script.checkParts(PARTS);
  for (const part of PARTS) {
    if (!script.wants(part)) continue;
    await RUN[part]();
    settle(device);
    console.log(`${DONE}${part}`);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
