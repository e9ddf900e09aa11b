/** docs/cuda/gpu.md: what the stages of gpu/README.md measured, and what they left out. */
import { table, times } from '../../bench/report/markdown';
import { METRICS } from '../profile';
import { type FiledRow, type KernelRow, STAGES } from '../support/rows';
import {
  type Comparison,
  type Counts,
  commandOutcomes,
  compareDecoding,
  compareKernels,
  compareTraining,
  countChecks,
  countTests,
  distinct,
  isOfGpu,
  missingStages,
  ofKind,
  summarize,
} from './figures';

/** Text from outside, such as an error's, in a cell of a table. */
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ');

const section = (title: string, ...parts: readonly string[]): string =>
  [`## ${title}`, ...parts.filter((part) => part !== '')].join('\n\n');

const list = (items: readonly string[]): string => items.map((item) => `- ${cell(item)}`).join('\n');

function machines(rows: readonly FiledRow[]): string {
  const begins = ofKind(rows, 'begin');
  const lines = begins.map(({ card, date, commit, device, size }) => [
    card.name ?? `none (device '${device}')`,
    card.driver_version ?? '',
    commit,
    date.slice(0, 10),
    size,
  ]);
  const kinds = distinct(lines.map((line) => line.join('\n'))).map((text) => {
    const line = text.split('\n');
    const stages = distinct(begins.filter((_, i) => lines[i]!.join('\n') === text).map(({ stage }) => stage));
    return [...line, stages.sort().join(', ')];
  });
  return table(['GPU', 'driver', 'commit', 'date', 'sizes', 'stages'], kinds);
}

function stagesPart(rows: readonly FiledRow[]): string {
  const outcomes = commandOutcomes(rows);
  const lines = outcomes.map(({ stage, command, end }) => [
    `${stage}: ${STAGES[stage]}`,
    command,
    end?.outcome ?? 'not ended',
    end ? `${end.seconds} s` : '',
    cell(end?.detail ?? ''),
  ]);
  const missing = missingStages(rows).map((stage) => `${stage} (${STAGES[stage]})`);
  const wrong = outcomes.filter(({ end }) => end?.outcome !== 'passed' && end?.outcome !== 'skipped');
  return section(
    'Stages',
    missing.length > 0 ? `**Missing, not run: ${missing.join(', ')}.**` : '',
    wrong.length > 0
      ? `**${wrong.length} of ${outcomes.length} commands did not pass: ${wrong.map(({ command }) => command).join(', ')}.**`
      : '',
    table(['stage', 'command', 'outcome', 'time', ''], lines),
  );
}

function factsPart(rows: readonly FiledRow[]): string {
  const facts = ofKind(rows, 'fact').filter(({ stage }) => stage === 'a');
  const card = Object.entries(ofKind(rows, 'begin').find(({ stage }) => stage === 'a')?.card ?? {});
  const lines = facts.map(({ name, value, unit }) => [name, cell(String(value)), unit ?? '']);
  return section('Device', table(['', 'value', 'unit'], [...card.map(([name, value]) => [name, value, '']), ...lines]));
}

const counted = ({ passed, failed }: Counts): string[] => [String(passed), String(failed)];

function correctnessPart(rows: readonly FiledRow[]): string {
  const tests = ofKind(rows, 'tests');
  const checks = ofKind(rows, 'check');
  const suites = distinct(checks.map(({ suite }) => suite));
  const failed = [
    ...tests.flatMap(({ file, failures }) => failures.map((failure) => `${file}: ${failure}`)),
    ...checks.filter(({ passed }) => !passed).map(({ suite, name, detail = '' }) => `${suite}: ${name}: ${detail}`),
  ];
  // Rows that only say whether they passed.
  const products = commandOutcomes(rows).filter(
    ({ stage, command }) => stage === 'b' && command.startsWith('products'),
  );
  return section(
    'Correctness',
    table(
      ['', 'passed', 'failed'],
      [
        [`jest, ${tests.length} files`, ...counted(countTests(tests))],
        ...suites.map((suite) => [suite, ...counted(countChecks(checks.filter((check) => check.suite === suite)))]),
      ],
    ),
    list(products.map(({ command, end }) => `${command}, against the CPU: ${end?.outcome ?? 'not ended'}`)),
    failed.length > 0 ? `**Failed:**\n\n${list(failed)}` : '',
  );
}

function sanitizersPart(rows: readonly FiledRow[]): string {
  const tools = ofKind(rows, 'sanitizer').map(({ tool, errors, parts, wanted, first = '' }) => [
    tool,
    errors === null ? 'no summary' : String(errors),
    `${parts.length} of ${wanted.length}`,
    cell(first),
  ]);
  const code = ofKind(rows, 'sass');
  const local = code
    .filter((kernel) => kernel.local > 0)
    .map(({ kernel, architecture }) => `${kernel}, ${architecture}`);
  return section(
    'compute-sanitizer and machine code',
    tools.length > 0
      ? table(['tool', 'errors', 'parts that it went through', 'first finding'], tools)
      : 'No tool was run.',
    code.length > 0 ? `Kernels with wgmma: ${code.filter(({ wgmma }) => wgmma > 0).length}.` : '',
    local.length > 0 ? `**Kernels with local memory:**\n\n${list(local)}` : '',
  );
}

/** One line for each rival: how often ours was faster. */
const summaries = <T>(comparisons: readonly Comparison<T>[], sides: readonly string[]): string =>
  list(
    sides.map((side) => {
      const { problems, faster, mean } = summarize(comparisons, side);
      return `${side}: ${problems} problems in common, ours faster in ${faster}, geometric mean of the ratios ${times(mean) || 'none'}`;
    }),
  );

/** How much the scripts did in their time, and what they could not do. */
function gaps(rows: readonly FiledRow[]): string {
  const unfinished = ofKind(rows, 'coverage').filter(({ done, of }) => done < of);
  const failures = ofKind(rows, 'failure');
  return list([
    ...unfinished.map(({ side, command, done, of }) => `${side}, ${command}: ${done} of ${of} were measured`),
    ...failures.map(({ side, at, message }) => `${side} failed: ${at}: ${message.split('\n')[0]}`),
  ]);
}

const ofStage = (rows: readonly FiledRow[], stage: string) => rows.filter((row) => row.stage === stage);
const sidesOf = <T>(comparisons: readonly Comparison<T>[]): string[] =>
  distinct(comparisons.flatMap(({ rivals }) => [...rivals.keys()]));

/** A table with two columns for each rival: its time, and by how much it is longer than ours. */
function comparison<T>(
  comparisons: readonly Comparison<T>[],
  header: readonly string[],
  own: (ours: T) => readonly string[],
  time: (row: T) => string,
): string {
  const sides = sidesOf(comparisons);
  const lines = comparisons.map(({ ours, rivals }) => [
    ...own(ours),
    ...sides.flatMap((side) => {
      const rival = rivals.get(side);
      return rival ? [time(rival.row), times(rival.ratio)] : ['', ''];
    }),
  ]);
  return table([...header, ...sides.flatMap((side) => [side, 'ratio'])], lines);
}

const NOTHING = 'Nothing was measured.';

const launchesOf = ({ launches = {} }: KernelRow): string =>
  Object.entries(launches)
    .map(([name, count]) => cell(`${name} × ${count}`))
    .join(', ');

function kernelsPart(rows: readonly FiledRow[]): string {
  const kernels = ofKind(rows, 'kernel');
  const compared = compareKernels(kernels);
  const byHand = kernels.filter(({ switches }) => switches !== undefined);
  const settings = distinct(byHand.map(({ switches }) => switches!));
  const microseconds = (row: { microseconds: number } | undefined) => row?.microseconds.toFixed(1) ?? '';
  const problems = distinct(byHand.map(({ problem }) => problem));
  const chosen = (problem: string) => compared.find(({ ours }) => ours.problem === problem)?.ours;
  return section(
    'Kernels',
    'Microseconds of a call when many follow each other; the ratio says how many times longer the rival takes. PyTorch eager calls cuBLAS, and ' +
      'scaled_dot_product_attention (SDPA) for attention; the CUDA graph replays the same calls.',
    compared.length === 0
      ? NOTHING
      : comparison(
          compared,
          ['problem', 'ours', 'TFLOP/s', 'host', 'launches'],
          (ours) => [
            ours.problem,
            microseconds(ours),
            ours.tflops.toFixed(1),
            ours.enqueueMicroseconds?.toFixed(1) ?? '',
            launchesOf(ours),
          ],
          microseconds,
        ),
    summaries(compared, sidesOf(compared)),
    settings.length > 0 ? 'Ours with kernels chosen by hand, microseconds:' : '',
    settings.length > 0
      ? table(
          ['problem', 'as chosen', ...settings],
          problems.map((problem) => [
            problem,
            microseconds(chosen(problem)),
            ...settings.map((setting) =>
              microseconds(byHand.find((row) => row.problem === problem && row.switches === setting)),
            ),
          ]),
        )
      : '',
    gaps(ofStage(rows, 'd')),
  );
}

function trainingPart(rows: readonly FiledRow[]): string {
  const compared = compareTraining(ofKind(rows, 'training'));
  const milliseconds = (row: { milliseconds: number }) => row.milliseconds.toFixed(1);
  return section(
    'Training steps',
    'Milliseconds of forward, loss, backward, clipping and AdamW; bfloat16 parameters with float32 originals on both sides. PyTorch: blocks and head by ' +
      'torch.compile, SDPA, fused AdamW.',
    compared.length === 0
      ? NOTHING
      : comparison(
          compared,
          ['model', 'tokens', 'ours', 'tokens/s', 'TFLOP/s', 'host', 'collections', 'GB', 'asked the system'],
          (ours) => [
            ours.job,
            String(ours.tokens),
            milliseconds(ours),
            String(ours.tokensPerSecond),
            ours.tflops?.toFixed(1) ?? '',
            ours.enqueueMilliseconds?.toFixed(1) ?? '',
            `${ours.collections ?? ''} (${ours.collectionMilliseconds ?? ''} ms)`,
            String(ours.peakGigabytes ?? ''),
            String(ours.systemAllocations ?? ''),
          ],
          milliseconds,
        ),
    summaries(compared, sidesOf(compared)),
    gaps(ofStage(rows, 'e')),
  );
}

function decodingPart(rows: readonly FiledRow[]): string {
  const compared = compareDecoding(ofKind(rows, 'decoding'));
  const milliseconds = (row: { milliseconds: number }) => row.milliseconds.toFixed(2);
  return section(
    'Decoding',
    'Milliseconds of a step with one new token for each sequence, logits in host memory. PyTorch: bfloat16 weights and cache, SDPA, one CUDA graph.',
    compared.length === 0
      ? NOTHING
      : comparison(
          compared,
          ['model', 'weights', 'batch', 'context', 'ours', 'tokens/s', 'GB of weights/s', 'prefill, tokens/s'],
          (ours) => [
            ours.job,
            ours.dtype,
            String(ours.batch),
            String(ours.context),
            milliseconds(ours),
            String(ours.tokensPerSecond),
            ((1e3 * ours.weightGigabytes) / ours.milliseconds).toFixed(0),
            String(ours.prefillTokensPerSecond ?? ''),
          ],
          milliseconds,
        ),
    summaries(compared, sidesOf(compared)),
    gaps(ofStage(rows, 'f')),
  );
}

function profilesPart(rows: readonly FiledRow[]): string {
  const profiles = ofKind(rows, 'profile');
  return section(
    'ncu',
    profiles.length === 0
      ? NOTHING
      : table(
          ['kernel', 'grid', ...METRICS],
          profiles.map(({ kernel, grid, metrics }) => [
            cell(kernel),
            grid,
            ...METRICS.map((metric) => metrics[metric] ?? ''),
          ]),
        ),
  );
}

export function renderPage(rows: readonly FiledRow[]): string {
  const parts = [
    isOfGpu(rows) ? '# The CUDA backend on a GPU' : '# Sample or trial data, not of a GPU',
    'Written by `npm run gpu:report` from the results of the stages in [gpu](../../gpu/README.md); nothing here was edited by hand.',
    machines(rows),
    stagesPart(rows),
    factsPart(rows),
    correctnessPart(rows),
    sanitizersPart(rows),
    kernelsPart(rows),
    trainingPart(rows),
    decodingPart(rows),
    profilesPart(rows),
  ];
  return `${parts.join('\n\n')}\n`;
}
