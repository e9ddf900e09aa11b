/** Where an export goes: it is whole or not there, and nothing else is lost. */
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FileError } from '../../lib';
import { exportHuggingFace, exportOnnx } from '../../lib/export';
import { randomModel } from './random_model';
import { folder } from './support';

const model = randomModel({ vocabSize: 11, dModel: 8, nLayers: 1, nHeads: 2, seqLen: 9 });
const GRAPH = join('onnx', 'model.onnx');
const ALL = ['config.json', 'generation_config.json', 'onnx', GRAPH];

const inside = (path: string) => (readdirSync(path, { recursive: true }) as string[]).sort();
const place = (name: string) => join(folder, name);

test('the folder and those above it are made', () => {
  const out = join(place('above'), 'below');
  exportOnnx(model, `${out}/`);
  expect(inside(out)).toEqual(ALL);
  expect(readdirSync(place('above'))).toEqual(['below']);
  // As any other folder that this process makes.
  expect(statSync(out).mode).toBe(statSync(place('above')).mode);
});

test('a link to an empty folder stays a link', () => {
  const target = place('target');
  mkdirSync(target);
  symlinkSync(target, place('link'));
  exportOnnx(model, place('link'));
  expect(inside(target)).toEqual(ALL);
  expect(inside(place('link'))).toEqual(ALL);
});

test('folders with names like those of our own temporary ones stay', () => {
  const out = place('neighbour');
  const mine = [`${out}.tmp`, `${out}.old`, `${out}.${process.pid}.tmp`];
  for (const path of mine) {
    mkdirSync(path);
    writeFileSync(join(path, 'notes.txt'), 'mine');
  }
  exportOnnx(model, out);
  exportHuggingFace(model, out, { force: true });
  for (const path of mine) expect(readFileSync(join(path, 'notes.txt'), 'utf8')).toBe('mine');
});

test.each([
  ['exportOnnx', exportOnnx],
  ['exportHuggingFace', exportHuggingFace],
])('%s touches nothing of a folder with files, and with force only those of the same names', (name, write) => {
  const out = place(`full ${name}`);
  mkdirSync(join(out, 'onnx'), { recursive: true });
  for (const path of ['config.json', 'notes.txt', join('onnx', 'notes.txt')]) writeFileSync(join(out, path), 'mine');
  expect(() => write(model, out)).toThrow(FileError);
  expect(() => write(model, out)).toThrow('it is not empty');
  expect(inside(out)).toEqual(['config.json', 'notes.txt', 'onnx', join('onnx', 'notes.txt')]);
  expect(readFileSync(join(out, 'config.json'), 'utf8')).toBe('mine');
  write(model, out, { force: true });
  for (const path of ['notes.txt', join('onnx', 'notes.txt')])
    expect(readFileSync(join(out, path), 'utf8')).toBe('mine');
  expect(readFileSync(join(out, 'config.json'), 'utf8')).toContain('starcoder2');
});

test('both formats fit into one folder', () => {
  const out = place('both');
  exportHuggingFace(model, out);
  exportOnnx(model, out, { force: true });
  expect(inside(out)).toEqual([...ALL.slice(0, 2), 'model.safetensors', ...ALL.slice(2)]);
});

test('a folder in the place of a file is refused before anything is moved', () => {
  const out = place('in-the-way');
  mkdirSync(join(out, GRAPH), { recursive: true });
  writeFileSync(join(out, 'config.json'), 'mine');
  expect(() => exportOnnx(model, out, { force: true })).toThrow(/model\.onnx: it is a folder/);
  expect(readFileSync(join(out, 'config.json'), 'utf8')).toBe('mine');
  expect(readdirSync(folder).filter((name) => name.startsWith('in-the-way'))).toEqual(['in-the-way']);
});

test('a graph without a cache goes where no client takes it for one with a cache, whatever else is there', () => {
  const out = place('uncached');
  exportOnnx(model, out, { cache: false });
  expect(inside(out)).toEqual(['model.onnx']);
  const both = place('uncached-and-more');
  exportOnnx(model, both);
  const cached = readFileSync(join(both, GRAPH));
  exportOnnx(model, both, { cache: false, force: true });
  expect(inside(both)).toEqual([...ALL.slice(0, 2), 'model.onnx', ...ALL.slice(2)]);
  expect(readFileSync(join(both, GRAPH))).toEqual(cached);
});
