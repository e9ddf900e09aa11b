// Test folders in their long form: many more rounds than in `npm test`. node scripts/test_long.mjs test/crash
// --seed N: random tests begin there. Other arguments are jest's.
import { spawnSync } from 'node:child_process';
import { ROOT } from './files.mjs';
import { JEST } from './jest.mjs';

const given = process.argv.slice(2);
const at = given.indexOf('--seed');
const [, seed] = at < 0 ? [] : given.splice(at, 2);
const { status } = spawnSync(process.execPath, [JEST, ...given], {
  cwd: ROOT,
  stdio: 'inherit',
  env: { ...process.env, STRUCTURED_FFN_LONG: '1', ...(seed && { STRUCTURED_FFN_SEED: seed }) },
});
process.exit(status ?? 1);
