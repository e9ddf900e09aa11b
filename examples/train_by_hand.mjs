// A training loop written by hand. A low-rank feedforward network learns y = sin(3x) in constant memory.
// Run: npm run build && node examples/train_by_hand.mjs
import { Generator, gelu, mean, mul, sub, tensor, tidy } from 'structured-ffn';
import { Linear, LowRankLinear, Module } from 'structured-ffn/nn';
import { AdamW, cosineSchedule } from 'structured-ffn/optim';

class Network extends Module {
  constructor(generator) {
    super();
    this.fc1 = this.addModule('fc1', new Linear({ inFeatures: 1, outFeatures: 64, init: 'xavier', generator }));
    const size = { inFeatures: 64, outFeatures: 64, rank: 16 };
    this.middle = this.addModule('middle', new LowRankLinear({ ...size, init: 'xavier', generator }));
    this.fc2 = this.addModule('fc2', new Linear({ inFeatures: 64, outFeatures: 1, init: 'xavier', generator }));
  }

  forward(x) {
    return this.fc2.forward(gelu(this.middle.forward(gelu(this.fc1.forward(x)))));
  }
}

const steps = 400;
const xs = Float32Array.from({ length: 128 }, (_, i) => (i / 64 - 1) * 2);
const ys = xs.map((x) => Math.sin(3 * x));

const network = new Network(new Generator(1));
const optimizer = new AdamW(network, { weightDecay: 0 });
const learningRate = cosineSchedule({ peak: 1e-2, totalSteps: steps, warmupSteps: 20 });

for (let step = 0; step < steps; step++) {
  const loss = tidy(() => {
    const error = sub(network.forward(tensor(xs, [128, 1])), tensor(ys, [128, 1]));
    const loss = mean(mul(error, error));
    loss.backward(null, { releaseGraph: true });
    return loss.item();
  });
  optimizer.step({ lr: learningRate(step), maxGradNorm: 1 });
  optimizer.zeroGrad();
  if ((step + 1) % 100 === 0) console.log(`step ${step + 1}: mean squared error ${loss.toFixed(5)}`);
}
