import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileError, FormatError } from '../../lib';
import { loadCheckpoint, saveCheckpoint } from '../../lib/io';

const root = mkdtempSync(join(tmpdir(), 'sffn-checkpoint-'));
const folder = join(root, 'checkpoint');
afterAll(() => rmSync(root, { recursive: true }));

const tensors = (value: number) => new Map([['w', { shape: [1], data: Float32Array.of(value) }]]);
const save = (value: number) =>
  saveCheckpoint(folder, {
    model: tensors(value),
    config: { dModel: value },
    optimizer: tensors(-value),
    trainer: { step: value },
  });

beforeEach(() => save(1));

test('everything comes back', () => {
  const back = loadCheckpoint(folder);
  expect([back.config, back.trainer]).toEqual([{ dModel: 1 }, { step: 1 }]);
  expect([back.model.get('w')!.data[0], back.optimizer!.get('w')!.data[0]]).toEqual([1, -1]);
});

test('a new one takes the place of the old, and nothing else is left', () => {
  save(2);
  expect(loadCheckpoint(folder).config).toEqual({ dModel: 2 });
  expect([`${folder}.tmp`, `${folder}.old`].map(existsSync)).toEqual([false, false]);
});

test('after a crash between the renames the one before is read', () => {
  renameSync(folder, `${folder}.old`);
  expect(loadCheckpoint(folder).config).toEqual({ dModel: 1 });
  rmSync(`${folder}.old`, { recursive: true });
});

test('a half-written one from a crash is in nobody’s way', () => {
  saveCheckpoint(`${folder}.tmp`, { model: tensors(9), config: {} });
  rmSync(join(`${folder}.tmp`, 'model.safetensors'));
  expect(loadCheckpoint(folder).config).toEqual({ dModel: 1 });
  save(3);
  expect(loadCheckpoint(folder).config).toEqual({ dModel: 3 });
});

test('a failed write keeps the last good one', () => {
  expect(() =>
    saveCheckpoint(folder, { model: new Map([['w', { shape: [2], data: Float32Array.of(1) }]]), config: {} }),
  ).toThrow();
  expect(loadCheckpoint(folder).config).toEqual({ dModel: 1 });
});

test('a single safetensors file is read with the config beside it', () => {
  const { model, optimizer } = loadCheckpoint(join(folder, 'model.safetensors'));
  expect([model.get('w')!.data[0], optimizer]).toEqual([1, undefined]);
});

test('what is no checkpoint is refused', () => {
  expect(() => loadCheckpoint(join(root, 'none'))).toThrow(FileError);
  const config = join(folder, 'config.json');
  const text = readFileSync(config, 'utf8');
  for (const [content, message] of [
    ['{', 'no JSON'],
    ['{}', 'not the config of a structured-ffn checkpoint'],
    [text.replace('"version": 1', '"version": 99'), 'format version 99'],
  ] as const) {
    writeFileSync(config, content);
    expect(() => loadCheckpoint(folder)).toThrow(FormatError);
    expect(() => loadCheckpoint(folder)).toThrow(message);
  }
});
