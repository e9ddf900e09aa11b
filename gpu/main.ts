/**
 * Runs the stages: `npm run gpu:check` in a clone, gpu/run.sh on a machine that has only the archive. The results are
 * in the folder of --out: results.jsonl (gpu/support/rows.ts), output.txt (the output of every command). gpu/README.md
 * explains the rest.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { checkChoice, OptionError } from '../lib/errors';
import { type Command, type Need, PROBE, planOf, type Step } from './plan';
import { nodeScript, ROOT } from './support/node_script';
import { DEVICES } from './support/options';
import { type EndRow, SIZES, STAGE_LETTERS, writeRow } from './support/rows';
import { limited, ranOver } from './support/tool';

/** @throws {TypeError} for an unknown option. @throws {OptionError} for a value that makes no sense. */
function readOptions() {
  const { values } = parseArgs({
    options: {
      stages: { type: 'string', default: STAGE_LETTERS.join() },
      only: { type: 'string' },
      device: { type: 'string', default: 'cuda' },
      size: { type: 'string' },
      out: { type: 'string', default: 'gpu-results' },
      python: { type: 'string', default: 'python3' },
    },
  });
  const { device, size = device === 'cuda' ? 'full' : 'small', python } = values;
  const stages = values.stages.split(',');
  checkChoice('--device', device, DEVICES);
  checkChoice('--size', size, SIZES);
  for (const stage of stages) checkChoice('--stages', stage, STAGE_LETTERS);
  return { device, size, python, stages, only: values.only?.split(','), out: resolve(values.out) };
}

/** Errors in the options are printed without a stack trace. */
function optionsOrExit() {
  try {
    return readOptions();
  } catch (error) {
    console.error(`gpu: ${error instanceof Error ? error.message : error}`);
    return process.exit(1);
  }
}

const { device, size, python, stages, only, out } = optionsOrExit();
mkdirSync(out, { recursive: true });
const work = mkdtempSync(join(tmpdir(), 'gpu-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

const results = join(out, 'results.jsonl');
const problems = join(work, 'problems.json');
const begin = performance.now();
const say = (text: string) => console.log(`${((performance.now() - begin) / 1e3).toFixed(0).padStart(4)} s  ${text}`);

/** The output of a program; an empty text if it is missing or fails. */
function ask(program: string, ...args: string[]): string {
  try {
    return execFileSync(program, args, { cwd: ROOT, encoding: 'utf8', stdio: 'pipe', timeout: 10_000 }).trim();
  } catch {
    return '';
  }
}

/** The commit of the archive, or of the clone. */
function commit(): string {
  const packed = join(ROOT, 'kit.json');
  if (existsSync(packed)) return (JSON.parse(readFileSync(packed, 'utf8')) as { commit: string }).commit;
  const changes = ask('git', 'status', '--porcelain', '--untracked-files=no');
  return `${ask('git', 'rev-parse', '--short', 'HEAD') || 'unknown'}${changes && ' with changes'}`;
}

function card(): Record<string, string> {
  const names = ['name', 'driver_version', 'memory.total', 'clocks.max.sm', 'power.limit', 'ecc.mode.current'];
  const line = ask('nvidia-smi', `--query-gpu=${names.join()}`, '--format=csv,noheader', '--id=0');
  const found = line.split(', ');
  return found.length === names.length ? Object.fromEntries(names.map((name, i) => [name, found[i]!])) : {};
}

const WAYS_TO_ASK: Readonly<Record<Need, () => Promise<boolean>>> = {
  'a CUDA device': async () => device === 'cuda',
  // An import takes many seconds.
  PyTorch: () => runs(python, '-c', 'import sys, importlib.util as i; sys.exit(i.find_spec("torch") is None)'),
  'compute-sanitizer': () => runs('compute-sanitizer', '--version'),
  cuobjdump: () => runs('cuobjdump', '--version'),
  ncu: () => runs('ncu', '--version'),
};

/** Whether a program exists and succeeds. */
const runs = (program: string, ...args: string[]): Promise<boolean> =>
  promisify(execFile)(program, args, { timeout: 10_000 }).then(
    () => true,
    () => false,
  );

const answers = new Map<Need, Promise<boolean>>();

async function missing({ needs = [] }: Command): Promise<Need | undefined> {
  for (const need of needs) {
    const answer = answers.get(need) ?? WAYS_TO_ASK[need]();
    answers.set(need, answer);
    if (!(await answer)) return need;
  }
  return undefined;
}

/** Ends the running commands. */
const running = new Map<Command, () => void>();

/** Characters of a command's output that are kept. */
const MOST_OUTPUT = 1e6;

/** Runs a command to its end or its limit; what it printed goes to output.txt. */
async function execute(command: Command): Promise<EndRow> {
  const { stage, name, argv, limit, env } = command;
  const start = performance.now();
  const file = join(work, `${stage} ${name}.txt`);
  const printed = openSync(file, 'w');
  const [program, args] = limited(limit, argv);
  const stdio = ['ignore' as const, printed, printed];
  const child = spawn(program, args, { cwd: ROOT, stdio, env: { ...process.env, ...env } });
  closeSync(printed);
  let ended = false;
  running.set(command, () => {
    ended = true;
    child.kill('SIGTERM');
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  running.delete(command);
  const text = readFileSync(file, 'utf8');
  appendFileSync(join(out, 'output.txt'), `=== ${stage} ${name}\n${text.slice(-MOST_OUTPUT)}\n`);
  const outcome = status === 0 ? 'passed' : ended || ranOver(status) ? 'killed' : 'failed';
  const last = text.trim().split('\n').slice(-3).join(' | ').slice(0, 500);
  const detail = outcome === 'passed' ? undefined : `${outcome === 'failed' ? `exit status ${status}: ` : ''}${last}`;
  return { kind: 'end', outcome, seconds: Number(((performance.now() - start) / 1e3).toFixed(1)), detail };
}

const nvidia = card();
const revision = commit();

/** Returns whether the command did not fail. */
async function run(command: Command): Promise<boolean> {
  const origin = { stage: command.stage, command: command.name };
  writeRow(results, origin, {
    kind: 'begin',
    date: new Date().toISOString(),
    commit: revision,
    device,
    size,
    card: nvidia,
  });
  const need = await missing(command);
  const end: EndRow = need
    ? { kind: 'end', outcome: 'skipped', seconds: 0, detail: `it needs ${need}` }
    : await execute(command);
  writeRow(results, origin, end);
  const { outcome, seconds, detail } = end;
  say(`${command.stage} ${command.name}: ${outcome}, ${seconds} s${detail ? `, ${detail}` : ''}`);
  return outcome === 'passed' || outcome === 'skipped' || command.background === true;
}

async function runStep(step: Step): Promise<boolean> {
  const background = step.filter((command) => command.background).map(run);
  const passed = await Promise.all(step.filter((command) => !command.background).map(run));
  // It runs alone and may take its time.
  if (passed.length > 0) for (const [command, end] of running) if (command.background) end();
  await Promise.all(background);
  return passed.every(Boolean);
}

/** The wanted commands; the probe is always one of them. */
function chosen(steps: readonly Step[]): Step[] {
  for (const name of only ?? [])
    checkChoice(
      '--only',
      name,
      steps.flat().map((command) => command.name),
    );
  const wanted = ({ stage, name }: Command) =>
    name === PROBE || (stages.includes(stage) && (only?.includes(name) ?? true));
  return steps.map((step) => step.filter(wanted)).filter((step) => step.length > 0);
}

async function main(): Promise<boolean> {
  let passed = true;
  for (const [i, step] of chosen(planOf({ device, size, results, python, problems })).entries()) {
    if (stopped) return false;
    passed = (await runStep(step)) && passed;
    if (i > 0) continue;
    if (!passed) {
      say('the probe failed: nothing else is run');
      return false;
    }
    const [program, ...args] = nodeScript('gpu/problems', size);
    writeFileSync(problems, ask(program!, ...args));
  }
  return passed;
}

// At the limit of gpu/run.sh: running commands are ended, and their output is kept.
let stopped = false;
process.on('SIGTERM', () => {
  stopped = true;
  say('ended from outside');
  for (const end of running.values()) end();
});

main().then(
  (passed) => {
    say(`${passed ? 'all passed' : 'something failed'}; results are in ${out}`);
    process.exitCode = passed ? 0 : 1;
  },
  (error) => {
    console.error(error instanceof OptionError ? `gpu: ${error.message}` : error);
    process.exitCode = 1;
  },
);
