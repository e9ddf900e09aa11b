/** Models in the files of tfjs's own format, which plain tfjs can only fetch from the network. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError } from '../errors';
import { attempt, readJson, withFile, writeAtomically } from '../io/files';
import type { io, Tfjs } from './tfjs';

const MODEL = 'model.json';

/** A save over a model takes the name that this one does not use, so that it stays whole until the new one is. */
const WEIGHTS = ['weights.bin', 'weights-2.bin'] as const;

const asParts = (data: io.WeightData): Uint8Array[] =>
  (Array.isArray(data) ? data : [data]).map((part) => new Uint8Array(part));

function isModelJSON(value: unknown): value is io.ModelJSON {
  return value !== null && typeof value === 'object' && 'modelTopology' in value && 'weightsManifest' in value;
}

/** @throws {FileError | FormatError} */
function readModel(folder: string): io.ModelJSON {
  const file = join(folder, MODEL);
  const json = readJson(file);
  if (!isModelJSON(json)) throw new FormatError(file, 'no model of tfjs');
  return json;
}

/** Files of weights that the model in the folder needs. What is no model needs none: a save replaces it. */
function usedWeights(folder: string): string[] {
  if (!existsSync(join(folder, MODEL))) return [];
  try {
    return readModel(folder).weightsManifest.flatMap(({ paths }) => paths);
  } catch (error) {
    if (error instanceof FormatError) return [];
    throw error;
  }
}

/**
 * For `model.save` and `tf.loadLayersModel` or `tf.loadGraphModel`: model.json, and a file of weights beside it. A save that
 * fails or is cut off leaves the model that was there. Folders written by tfjs elsewhere, with any number of weight files, are
 * read, too. @throws {FileError | FormatError}
 */
export function fileIO(tf: Tfjs, folder: string): io.IOHandler {
  return {
    async save(artifacts) {
      const { weightData = new ArrayBuffer(0), weightSpecs = [], ...rest } = artifacts;
      const parts = asParts(weightData);
      const used = usedWeights(folder);
      const [weights, other] = used.includes(WEIGHTS[0]) ? [WEIGHTS[1], WEIGHTS[0]] : WEIGHTS;
      const json = { ...rest, weightsManifest: [{ paths: [weights], weights: weightSpecs }] };
      writeAtomically(join(folder, weights), parts);
      writeAtomically(join(folder, MODEL), [Buffer.from(JSON.stringify(json))]);
      attempt(() => rmSync(join(folder, other), { force: true }));
      const weightDataBytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON', weightDataBytes } };
    },
    async load() {
      return tf.io.getModelArtifactsForJSON(readModel(folder), async (manifest) => {
        const parts = manifest
          .flatMap(({ paths }) => paths)
          .map((path) => withFile('read', join(folder, path), () => readFileSync(join(folder, path))));
        const bytes = Uint8Array.from(Buffer.concat(parts));
        return [manifest.flatMap(({ weights }) => weights), bytes.buffer];
      });
    },
  };
}
