// A tfjs LayersModel is trained on real data, made low-rank, fine-tuned, and merged back for use without native code. It predicts
// in which era a passage of a State of the Union address was written. Whole addresses are held out.
//
// Run: npm run build && node examples/tfjs_structure_model.mjs [FOLDER to save to]
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import { install } from 'structured-ffn/tfjs';
import { addresses, sample, sentences } from './support/addresses.mjs';
import { ERAS, eraOf, FEATURES, featuresOf } from './support/eras.mjs';

tf.enableProdMode();
await tf.setBackend('wasm');
const sffn = install(tf);
const [folder] = process.argv.slice(2);

/** Passages of five sentences. */
function passages({ year, text }) {
  const list = sentences(text);
  return Array.from({ length: Math.floor(list.length / 5) }, (_, i) => ({
    year,
    text: list.slice(5 * i, 5 * i + 5).join(' '),
  }));
}
function dataset(all, count, seed) {
  const chosen = sample(all.flatMap(passages), count, seed);
  const x = new Float32Array(chosen.length * FEATURES);
  for (const [i, { text }] of chosen.entries()) x.set(featuresOf(text), i * FEATURES);
  const labels = tf.tensor1d(
    chosen.map(({ year }) => eraOf(year)),
    'int32',
  );
  return { x: tf.tensor2d(x, [chosen.length, FEATURES]), y: tf.oneHot(labels, ERAS.length) };
}
const texts = addresses();
const training = dataset(
  texts.filter((_, i) => i % 5 !== 0),
  3000,
  1,
);
const heldOut = dataset(
  texts.filter((_, i) => i % 5 === 0),
  1000,
  2,
);

const compile = (model, rate) =>
  model.compile({ optimizer: tf.train.adam(rate), loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
async function describe(name, model) {
  const [, accuracy] = model.evaluate(heldOut.x, heldOut.y, { batchSize: 500 });
  const times = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    const y = model.predict(heldOut.x, { batchSize: 500 });
    await y.data();
    y.dispose();
    times.push(performance.now() - start);
  }
  const part = `${(100 * accuracy.dataSync()[0]).toFixed(1)} %`;
  console.log(
    `${name.padEnd(28)} ${part} correct, ${model.countParams()} parameters, ${times.sort((a, b) => a - b)[2].toFixed(1)} ms for ${heldOut.x.shape[0]}`,
  );
}

const model = tf.sequential({
  layers: [
    tf.layers.dense({ units: 384, activation: 'relu', inputShape: [FEATURES], name: 'wide' }),
    tf.layers.dropout({ rate: 0.3 }),
    tf.layers.dense({ units: 256, activation: 'relu', name: 'middle' }),
    tf.layers.dense({ units: ERAS.length, activation: 'softmax', name: 'head' }),
  ],
});
compile(model, 1e-3);
await model.fit(training.x, training.y, { epochs: 6, batchSize: 128, verbose: 0 });
await describe('dense, tfjs', model);

const { model: small, report } = await sffn.structureModel(model, {
  structure: 'lowrank',
  rank: 8,
  layers: ['wide', 'middle'],
  guides: 'merged',
});
for (const { layer, error, parametersBefore, parametersAfter } of report)
  console.log(`  ${layer}: ${parametersBefore} -> ${parametersAfter} weights, error ${error.toFixed(3)}`);
compile(small, 3e-4);
const cut = await sffn.mergeModel(small);
compile(cut, 1);
await describe('low-rank, cut', cut);

const batches = Math.ceil(training.x.shape[0] / 128);
const callbacks = [sffn.guide(small, { steps: 2 * batches, form: 'mixed' })];
await small.fit(training.x, training.y, { epochs: 4, batchSize: 128, verbose: 0, callbacks });
await describe('low-rank, fine-tuned', small);
const merged = await sffn.mergeModel(small);
compile(merged, 1);
await describe('merged back to dense layers', merged);
if (folder !== undefined) await small.save(sffn.fileIO(folder));
