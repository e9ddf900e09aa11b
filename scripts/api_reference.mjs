// The API reference, from the doc comments of everything that the package exports: docs/api/index.html. With --check
// nothing is written. Fails if something public has no doc comment, or a link in one leads nowhere.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ROOT } from './files.mjs';

const FOLDER = join(ROOT, 'tools', 'api');

const unknown = process.argv.slice(2).filter((argument) => argument !== '--check');
if (unknown.length > 0) {
  console.error(`api_reference: unknown argument ${unknown[0]}; there is --check`);
  process.exit(2);
}
// Resolved from there: typedoc needs the TypeScript of that workspace.
const typedoc = dirname(createRequire(join(FOLDER, 'package.json')).resolve('typedoc/package.json'));
const result = spawnSync(
  process.execPath,
  [join(typedoc, 'bin', 'typedoc'), ...(process.argv.includes('--check') ? ['--emit', 'none'] : [])],
  { cwd: FOLDER, stdio: 'inherit' },
);
process.exit(result.status ?? 1);
