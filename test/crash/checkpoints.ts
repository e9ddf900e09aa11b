/** Checkpoints that hold one number everywhere, so that a mix of two shows. */
import { loadCheckpoint, saveCheckpoint } from '../../lib/io';

export function saveNumber(folder: string, value: number): void {
  const tensors = (sign: number) =>
    new Map(['a', 'b'].map((name) => [name, { shape: [50], data: new Float32Array(50).fill(sign * value) }]));
  saveCheckpoint(folder, {
    model: tensors(1),
    optimizer: tensors(-1),
    config: { value },
    trainer: { step: value },
    tokenizerFile: Buffer.from(JSON.stringify({ value })),
  });
}

/** The number. @throws what loadCheckpoint throws, and for parts of different checkpoints. */
export function loadNumber(folder: string): number {
  const { model, optimizer, config, trainer } = loadCheckpoint(folder);
  const values = [
    ...[...model.values()].flatMap(({ data }) => [...data]),
    ...[...(optimizer?.values() ?? [])].flatMap(({ data }) => [...data].map((x) => -x)),
    (config as { value: number }).value,
    (trainer as { step: number }).step,
  ];
  const different = new Set(values);
  if (values.length !== 202 || different.size !== 1) throw new Error(`a mix of ${[...different]}`);
  return values[0]!;
}
