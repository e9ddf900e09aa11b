// The layers on plain Float32Arrays, without tensors or a gradient graph, for people with their own training code.
// Run: npm run build && node examples/typed_arrays.mjs
import { defineLinear } from 'structured-ffn/functional';

const layer = defineLinear({
  structure: 'blockshuffle',
  inFeatures: 64,
  outFeatures: 256,
  nblocks: 4,
  activation: 'gelu',
});
const size = (shape) => shape.reduce((product, length) => product * length, 1);
const ramp = (length) => Float32Array.from({ length }, (_, i) => Math.sin(i) * 0.1);

const tokens = 32;
const weights = { v: ramp(size(layer.shapes.v)), u: ramp(size(layer.shapes.u)), bias: new Float32Array(256) };
const x = ramp(tokens * 64);

const { y, saved } = layer.forward({ x, ...weights }, { training: true });
console.log(`y: ${y.length / tokens} features for each of ${tokens} tokens, ${layer.macs} multiply-adds a token`);

// The gradients of the loss ½·Σy² for every input. The asynchronous call leaves the event loop free.
const gradients = await layer.backwardAsync({ dy: y, x, ...weights, saved });
for (const [name, values] of Object.entries(gradients)) console.log(`${name}: ${values.length} values`);

const dense = layer.merge(weights);
console.log(
  `the same map as one dense matrix: ${dense.length} weights instead of ${weights.v.length + weights.u.length}`,
);
