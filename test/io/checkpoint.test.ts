import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileError, FormatError, OptionError } from '../../lib';
import { loadCheckpoint, saveCheckpoint, saveSafetensors } from '../../lib/io';

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
  expect(readdirSync(root)).toEqual(['checkpoint']);
});

test('after a crash between the renames the one before is read', () => {
  renameSync(folder, `${folder}.old`);
  expect(loadCheckpoint(folder).config).toEqual({ dModel: 1 });
  rmSync(`${folder}.old`, { recursive: true });
});

test('folders of releases without a manifest are read and replaced', () => {
  rmSync(join(folder, 'manifest.json'));
  expect(loadCheckpoint(folder).trainer).toEqual({ step: 1 });
  save(2);
  expect(loadCheckpoint(folder).trainer).toEqual({ step: 2 });
});

test('a half-written one from a crash is in nobody’s way', () => {
  const left = `${folder}.123-0123456789ab.tmp`;
  saveCheckpoint(left, { model: tensors(9), config: {} });
  rmSync(join(left, 'model.safetensors'));
  expect(loadCheckpoint(folder).config).toEqual({ dModel: 1 });
  save(3);
  expect(loadCheckpoint(folder).config).toEqual({ dModel: 3 });
  expect(readdirSync(root)).toEqual(['checkpoint']);
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
  // As an old release left it: with a manifest a changed file is refused whatever it holds.
  rmSync(join(folder, 'manifest.json'));
  for (const [content, message] of [
    ['{', 'not JSON'],
    ['{}', 'not the config of a structured-ffn checkpoint'],
    [text.replace('"version": 1', '"version": 99'), 'format version 99'],
  ] as const) {
    writeFileSync(config, content);
    expect(() => loadCheckpoint(folder)).toThrow(FormatError);
    expect(() => loadCheckpoint(folder)).toThrow(message);
  }
});

test('a file that is missing, changed, damaged or of another save is refused by its name', () => {
  const other = join(root, 'other');
  saveCheckpoint(other, { model: tensors(8), config: { dModel: 8 }, optimizer: tensors(8), trainer: { step: 8 } });
  for (const name of ['config.json', 'model.safetensors', 'optimizer.safetensors', 'trainer.json']) {
    const file = join(folder, name);
    save(1);
    writeFileSync(file, readFileSync(join(other, name)));
    expect(() => loadCheckpoint(folder)).toThrow(FormatError);
    expect(() => loadCheckpoint(folder)).toThrow(`${file}: it is not the file that was saved with the others`);
    rmSync(file);
    expect(() => loadCheckpoint(folder)).toThrow(`${name} is missing`);
  }
  save(1);
  appendFileSync(join(folder, 'trainer.json'), '\n');
  expect(() => loadCheckpoint(folder)).toThrow('trainer.json');
  rmSync(folder, { recursive: true });
  rmSync(other, { recursive: true });
});

describe('what is no checkpoint of ours stays', () => {
  test('a folder of something else, and a file, are refused and left as they are', () => {
    const project = join(root, 'project');
    mkdirSync(join(project, 'src'), { recursive: true });
    writeFileSync(join(project, 'src', 'main.c'), 'int main;');
    writeFileSync(join(project, 'config.json'), '{"format": "something else"}');
    const file = join(root, 'file');
    writeFileSync(file, 'text');
    const model = { model: tensors(1), config: {} };
    for (const place of [project, `${project}/`]) {
      expect(() => saveCheckpoint(place, model)).toThrow(FileError);
      expect(() => saveCheckpoint(place, model)).toThrow('something else in it');
    }
    expect(() => saveCheckpoint(file, model)).toThrow('it is a file');
    expect(readFileSync(join(project, 'src', 'main.c'), 'utf8')).toBe('int main;');
    expect(readdirSync(root).sort()).toEqual(['checkpoint', 'file', 'project']);
    rmSync(project, { recursive: true });
    rmSync(file);
  });

  test('files that somebody put beside ours move on into the new checkpoint', () => {
    mkdirSync(join(folder, 'notes'));
    writeFileSync(join(folder, 'notes', 'today.txt'), 'it learns');
    save(2);
    save(3);
    expect(readFileSync(join(folder, 'notes', 'today.txt'), 'utf8')).toBe('it learns');
    expect(loadCheckpoint(folder).config).toEqual({ dModel: 3 });
    rmSync(join(folder, 'notes'), { recursive: true });
  });

  test('folders of names like ours are nobody’s leftovers', () => {
    const backup = `${folder}.old`;
    saveCheckpoint(backup, { model: tensors(5), config: { dModel: 5 } });
    save(2);
    expect(loadCheckpoint(backup).config).toEqual({ dModel: 5 });
    rmSync(backup, { recursive: true });
  });
});

test('a slash at the end, a relative path and a link mean the same folder', () => {
  const link = join(root, 'link');
  symlinkSync(folder, link);
  const cwd = process.cwd();
  for (const [i, place] of [`${folder}/`, link, 'checkpoint', './checkpoint/'].entries()) {
    process.chdir(root);
    saveCheckpoint(place, { model: tensors(i), config: { dModel: 10 + i } });
    expect(loadCheckpoint(place).config).toEqual({ dModel: 10 + i });
    process.chdir(cwd);
    expect(loadCheckpoint(folder).config).toEqual({ dModel: 10 + i });
  }
  rmSync(link);
  expect(readdirSync(root)).toEqual(['checkpoint']);
});

test.each<[string, object, string]>([
  ['no weights', { model: undefined }, 'saveCheckpoint: model: expected tensors by name, got undefined'],
  ['an object of weights', { model: { w: 1 } }, 'saveCheckpoint: model: expected tensors by name, got Object'],
  ['weights that are no pairs', { model: [1] }, 'saveCheckpoint: model: expected pairs of a name and a tensor, got 1'],
  ['moments that are none', { optimizer: 5 }, 'saveCheckpoint: optimizer: expected tensors by name, got 5'],
  ['an unknown dtype', { dtype: 'float16' }, 'saveCheckpoint: dtype: expected one of float32, bfloat16, int8'],
  ['a config that JSON cannot hold', { config: { a: 1n } }, 'saveCheckpoint: config: expected plain JSON, got Object'],
  ['a trainer that JSON cannot hold', { trainer: [1n] }, 'saveCheckpoint: trainer: expected plain JSON, got [1]'],
])('%s: refused, and the old checkpoint stays', (_, wrong, message) => {
  const all = { model: tensors(2), config: {}, ...wrong } as never;
  expect(() => saveCheckpoint(folder, all)).toThrow(OptionError);
  expect(() => saveCheckpoint(folder, all)).toThrow(message);
  expect(loadCheckpoint(folder).config).toEqual({ dModel: 1 });
});

test('values that are not finite are neither saved nor loaded', () => {
  const named = <T>(data: T) => new Map([['a.weight', { shape: [3], data }]]);
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const bad = named(Float32Array.of(1, 2, value));
    const message = `tensor 'a.weight' is not finite: element 2 is ${value}`;
    expect(() => saveCheckpoint(folder, { model: bad, config: {} })).toThrow(message);
    expect(() => saveCheckpoint(folder, { model: tensors(1), config: {}, optimizer: bad })).toThrow(message);
    expect(loadCheckpoint(folder).config).toEqual({ dModel: 1 });
    saveSafetensors(join(folder, 'model.safetensors'), bad);
    expect(() => loadCheckpoint(folder)).toThrow(message);
    save(1);
  }
  const bits = named(Uint16Array.of(0, 0x7f80, 0));
  expect(() => saveCheckpoint(folder, { model: bits, config: {}, dtype: 'bfloat16' })).toThrow('element 1');
});
