// An HTTP service that answers with the era of a passage. It uses the model that tfjs_structure_model.mjs saved.
//
// Run: node examples/tfjs_service.mjs FOLDER [PORT]
//      curl -d 'We choose to go to the moon in this decade.' localhost:8080
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import * as tf from '@tensorflow/tfjs';
import { install } from 'structured-ffn/tfjs';
import { eraName, FEATURES, featuresOf } from './support/eras.mjs';

const [folder, port = '8080'] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: node examples/tfjs_service.mjs FOLDER [PORT]');

tf.enableProdMode();
// The kernels need no copies on the cpu backend, and the rest of this model is fast there.
await tf.setBackend('cpu');
const sffn = install(tf);
const model = await tf.loadLayersModel(sffn.fileIO(folder));

const classify = (passage) =>
  tf.tidy(() => {
    const scores = model.predict(tf.tensor2d(featuresOf(passage), [1, FEATURES])).dataSync();
    const era = scores.indexOf(Math.max(...scores));
    return { era: eraName(era), probability: Number(scores[era].toFixed(3)) };
  });

const server = createServer(async (request, response) => {
  const passage = request.method === 'POST' ? await text(request) : '';
  response.setHeader('content-type', 'application/json');
  response.statusCode = passage === '' ? 400 : 200;
  response.end(`${JSON.stringify(passage === '' ? { error: 'POST a passage' } : classify(passage))}\n`);
});
server.listen(Number(port), () => console.log(`listening on ${server.address().port}`));
process.once('SIGTERM', () => server.close());
