/** A small text of tokens and a small run on it, in a folder that is removed after the tests. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StepReport, TrainConfig, Trainer } from '../../lib/train';
import { TestRandom } from '../support/random';

export const VOCABULARY = 29;

export const folder = mkdtempSync(join(tmpdir(), 'train-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Each token follows from the one before in three of four cases, so that there is something to learn. */
export function writeTokenFile(name: string, length: number, seed: number): string {
  const random = new TestRandom(seed);
  const tokens = new Uint16Array(length);
  for (let i = 1; i < length; i++)
    tokens[i] = random.next() < 0.75 ? (tokens[i - 1]! * 5 + 3) % VOCABULARY : random.int(0, VOCABULARY - 1);
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(tokens.buffer));
  return path;
}

const train = writeTokenFile('train.bin', 3000, 1);
const validation = writeTokenFile('validation.bin', 500, 2);

export const CONFIG: TrainConfig = {
  model: {
    vocabSize: VOCABULARY,
    dModel: 16,
    nLayers: 2,
    nHeads: 2,
    seqLen: 16,
    ffn: { structure: 'lowrank', rank: 4 },
  },
  data: { train, validation, dtype: 'uint16' },
  steps: 6,
  batchSize: 3,
  learningRate: 1e-2,
  seed: 5,
};

/** The reports of at most `count` steps, without what the clock says. */
export async function take(trainer: Trainer, count = Number.POSITIVE_INFINITY): Promise<Partial<StepReport>[]> {
  const reports: Partial<StepReport>[] = [];
  while (reports.length < count && !trainer.finished) {
    const { tokensPerSecond: _, ...report } = await trainer.takeStep();
    reports.push(report);
  }
  return reports;
}

/** All parameters as plain numbers, by name. */
export const weightsOf = ({ model }: Trainer): Map<string, number[]> =>
  new Map([...model.namedParameters()].map(([name, parameter]) => [name, Array.from(parameter.toArray())]));
