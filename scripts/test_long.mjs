// Test folders in their long form: many more rounds than in `npm test`. node scripts/test_long.mjs test/crash
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './files.mjs';

const { status } = spawnSync(
  process.execPath,
  [join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js'), ...process.argv.slice(2)],
  {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, STRUCTURED_FFN_LONG: '1' },
  },
);
process.exit(status ?? 1);
