/** Models in the files of tfjs's own format, which plain tfjs can only fetch from the network. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FormatError } from '../errors';
import type { io, Tfjs } from './tfjs';

const MODEL = 'model.json';
const WEIGHTS = 'weights.bin';

const asBytes = (data: io.WeightData): Buffer =>
  Buffer.concat((Array.isArray(data) ? data : [data]).map((part) => Buffer.from(part)));

function isModelJSON(value: unknown): value is io.ModelJSON {
  return value !== null && typeof value === 'object' && 'modelTopology' in value && 'weightsManifest' in value;
}

/**
 * For `model.save` and `tf.loadLayersModel` or `tf.loadGraphModel`: model.json, and weights.bin beside it. Folders written by
 * tfjs elsewhere, with any number of weight files, are read, too. @throws {FormatError}
 */
export function fileIO(tf: Tfjs, folder: string): io.IOHandler {
  return {
    async save(artifacts) {
      const { weightData = new ArrayBuffer(0), weightSpecs = [], ...rest } = artifacts;
      const weights = asBytes(weightData);
      const json = { ...rest, weightsManifest: [{ paths: [WEIGHTS], weights: weightSpecs }] };
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, WEIGHTS), weights);
      await writeFile(join(folder, MODEL), JSON.stringify(json));
      return {
        modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON', weightDataBytes: weights.length },
      };
    },
    async load() {
      const file = join(folder, MODEL);
      const json: unknown = JSON.parse(await readFile(file, 'utf8'));
      if (!isModelJSON(json)) throw new FormatError(file, 'no model of tfjs');
      return tf.io.getModelArtifactsForJSON(json, async (manifest) => {
        const parts = await Promise.all(
          manifest.flatMap(({ paths }) => paths).map((path) => readFile(join(folder, path))),
        );
        const bytes = Uint8Array.from(Buffer.concat(parts));
        return [manifest.flatMap(({ weights }) => weights), bytes.buffer];
      });
    },
  };
}
