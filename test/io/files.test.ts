/** Files are written whole, and only where a file can be. */
import { spawnSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileError } from '../../lib';
import { cacheFile, checkWritable, makeFolder, realPath, wayInto, writeAtomically } from '../../lib/io/files';
import { replaceFolder } from '../../lib/io/store';

const folder = realPath(mkdtempSync(join(tmpdir(), 'sffn-files-')));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (...parts: string[]) => join(folder, ...parts);

test('a file that is a link is written where the link leads', () => {
  mkdirSync(at('there'));
  writeFileSync(at('there', 'file'), 'old');
  symlinkSync(at('there', 'file'), at('link'));
  writeAtomically(at('link'), [Buffer.from('new')]);
  expect(lstatSync(at('link')).isSymbolicLink()).toBe(true);
  expect(readFileSync(at('there', 'file'), 'utf8')).toBe('new');
  expect(readdirSync(at('there'))).toEqual(['file']);
});

test('a folder and a pipe are not replaced', () => {
  mkdirSync(at('folder'));
  expect(spawnSync('mkfifo', [at('pipe')]).status).toBe(0);
  for (const [name, message] of [
    ['folder', 'it is a folder'],
    ['pipe', 'it is no regular file'],
  ] as const)
    for (const write of [checkWritable, (path: string) => writeAtomically(path, [Buffer.from('new')])]) {
      expect(() => write(at(name))).toThrow(FileError);
      expect(() => write(at(name))).toThrow(`cannot write ${at(name)}: ${message}`);
    }
  expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
});

test('to try whether a file can be written leaves nothing', () => {
  const before = readdirSync(folder);
  checkWritable(at('a', 'b', 'file'));
  expect(readdirSync(folder)).toEqual(before);
});

test('no folder is made where a link to nothing is', () => {
  symlinkSync('nothing', at('dangling'));
  for (const path of [at('dangling'), at('dangling', 'below')])
    expect(() => makeFolder(path)).toThrow(`cannot write ${at('dangling')}: it is a link to nothing`);
});

test('a checkpoint that cannot be written leaves no folder', () => {
  const before = readdirSync(folder);
  function* full(): Generator<Uint8Array> {
    yield Buffer.from('{}');
    throw Object.assign(new Error('full'), { code: 'ENOSPC' });
  }
  expect(() => replaceFolder(at('new', 'run', 'checkpoint'), new Map([['config.json', full()]]))).toThrow(
    `cannot write ${at('new', 'run', 'checkpoint')}: no space left`,
  );
  expect(readdirSync(folder)).toEqual(before);
});

test('the way into a folder follows links, and there is none to what lies elsewhere', () => {
  mkdirSync(at('in', 'side'), { recursive: true });
  symlinkSync(at('in'), at('also-in'));
  expect(wayInto(at('in'), at('also-in', 'side', 'new'))).toBe(join('side', 'new'));
  expect(wayInto(at('in'), at('in', '..name'))).toBe('..name');
  expect(wayInto(at('in'), at('inside'))).toBeUndefined();
  expect(wayInto(at('in'), folder)).toBeUndefined();
});

test('an empty name of the cache folder counts as none', () => {
  const before = process.env.XDG_CACHE_HOME;
  try {
    delete process.env.XDG_CACHE_HOME;
    const usual = cacheFile('name');
    process.env.XDG_CACHE_HOME = '';
    expect(cacheFile('name')).toBe(usual);
    process.env.XDG_CACHE_HOME = at('caches');
    expect(cacheFile('name')).toBe(at('caches', 'structured-ffn', 'name'));
  } finally {
    if (before === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = before;
  }
});
