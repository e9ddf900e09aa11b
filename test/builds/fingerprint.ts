/** Prints the hash of what the kernels compute on every instruction set, for compare.mjs. */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { availableIsas, setIsa } from '../../lib/device';
import { defineFeedForward, type LinearSpec } from '../../lib/functional';
import { readCase } from '../conformance/cases';
import { randomLayer, TestRandom } from '../functional/layers';

const FOLDER = join(__dirname, '..', 'fixtures', 'reference');
const cases = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.safetensors'))
  .sort()
  .map((file) => readCase(join(FOLDER, file)));

/** A network large enough for the blocked and threaded paths. */
function largeNetwork(): (Float32Array | undefined)[] {
  const fc1: LinearSpec = { structure: 'blockshuffle', inFeatures: 256, outFeatures: 1024, nblocks: 4 };
  const fc2: LinearSpec = { structure: 'lowrank', inFeatures: 512, outFeatures: 256, rank: 96 };
  const random = new TestRandom(1);
  const inputs = {
    x: random.array(300 * 256),
    fc1: randomLayer(fc1, random).arrays,
    fc2: randomLayer(fc2, random).arrays,
  };
  const network = defineFeedForward({ fc1, fc2, activation: 'swiglu' });
  const { y, saved } = network.forward(inputs, { training: true });
  const g = network.backward({ dy: random.array(300 * 256), ...inputs, saved });
  return [y, g.dx, g.fc1.dv, g.fc1.du, g.fc1.dbias, g.fc2.dv, g.fc2.du, g.fc2.dbias];
}

for (const isa of availableIsas()) {
  setIsa(isa);
  const results = [...cases.map(({ name, compute }) => [name, [...compute().values()]] as const)];
  for (const [name, arrays] of [...results, ['large network', largeNetwork()] as const]) {
    const hash = createHash('sha256');
    for (const array of arrays)
      if (array) hash.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    console.log(`${isa} ${name}: ${hash.digest('hex')}`);
  }
}
