/** The pages of the report: an index with the machine, and one page for each kind of suite. */
import type { ResultFile } from '../harness/results';
import { type Figures, mergeRuns } from './figures';
import { goalsTable } from './goals';
import { table } from './markdown';
import { summaryTables } from './summary';
import { decodePage, overheadPage, scalingPage, timings, trainingPage } from './tables';

const PAGES: readonly {
  readonly file: string;
  readonly title: string;
  readonly suites: readonly string[];
  readonly plots: readonly string[];
  readonly text: string;
  readonly body: (figures: Figures) => string;
}[] = [
  {
    file: 'kernels.md',
    title: 'Linear layers',
    suites: ['kernels'],
    plots: ['speedup_width.svg', 'speedup_tokens.svg', 'roofline.svg'],
    text: 'Up to 8 tokens there are two tables: with cold weights, which all sides read from memory, and with hot ones, which may stay in the caches. A blockdense ratio is the ratio of d → 4d and 4d → d together: the first has more parameters, the second fewer.',
    body: (figures) => goalsTable(figures) + timings(figures, 'kernels'),
  },
  {
    file: 'ffn.md',
    title: 'Feedforward networks',
    suites: ['ffn'],
    plots: [],
    text: 'The network is: up, bias, GELU, down, bias. onnxruntime and TensorFlow.js compute only forward, in float32, and on hot weights. TensorFlow.js uses one thread.',
    body: (figures) => timings(figures, 'ffn'),
  },
  {
    file: 'training.md',
    title: 'A training step',
    suites: ['training', 'memory'],
    plots: [],
    text: 'A step is forward, loss, backward, clipping and AdamW, in bfloat16 with master weights in float32. The first block is dense. Losses were checked to agree over 3 steps. Memory is the largest growth of a fresh process.',
    body: trainingPage,
  },
  {
    file: 'decode.md',
    title: 'Decoding',
    suites: ['decode'],
    plots: [],
    text: 'A step computes one new token for each sequence of a batch, all with the same context length; a prompt is computed at once, with the logits of its last token. The first block is dense. The precision of ours is that of the weights. Logits of the rivals were checked to agree. PyTorch keeps keys and values in place. llama.cpp, where node-llama-cpp is installed, runs the dense model as f32, bf16 and q8_0 (here int8), and takes the most likely token, because node-llama-cpp gives no logits. onnxruntime runs our export, which returns the cache from each call as new tensors. Each structure takes turns with dense in a separate table. "Matrices alone" are the linear layers of a step on one token, one call each, in turns with plain reads of 256 MB ("memory").',
    body: decodePage,
  },
  {
    file: 'tfjs.md',
    title: 'Inside tfjs models',
    suites: ['tfjs'],
    plots: [],
    text: 'A feedforward network as a layer of a tfjs model: `predict` of one batch with its result read, and `fit` of one batch with Adam. tfjs computes the same with its own layers, on the backend in the title and on one thread. Times include copies between tfjs and the kernels, but these backends need no copies.',
    body: (figures) => timings(figures, 'tfjs'),
  },
  {
    file: 'scaling.md',
    title: 'Tokens and threads',
    suites: ['tokens', 'threads'],
    plots: ['time_tokens.svg'],
    text: 'Forward through one layer.',
    body: scalingPage,
  },
  {
    file: 'overhead.md',
    title: 'The cost of a call',
    suites: ['overhead'],
    plots: [],
    text: 'The time of a call that has almost nothing to compute.',
    body: overheadPage,
  },
];

/** Written by hand, in the folder of the pages; linked if it exists. */
export const NOTES = 'notes.md';

function runTable(runs: readonly ResultFile[]): string {
  const rows = runs.map(({ command, machine, rivals }) => [
    machine.date.slice(0, 16).replace('T', ' '),
    `\`${command}\``,
    machine.commit,
    machine.load.join(' → '),
    rivals.join(', ') || 'none',
  ]);
  return table(['date (UTC)', 'command', 'commit', 'load before → after', 'rivals'], rows);
}

function indexPage(runs: readonly ResultFile[], figures: Figures, written: readonly string[], notes: boolean): string {
  const machine = runs[runs.length - 1]!.machine;
  const list = PAGES.filter(({ file }) => written.includes(file)).map(({ file, title }) => `- [${title}](${file})`);
  if (notes) list.push(`- [Goals that were not reached, and why](${NOTES})`);
  const limits = figures.peaks.map(({ isa, threads, gflops, bfloat16, gbps }) => [
    isa,
    String(threads),
    gflops.toFixed(0),
    bfloat16?.toFixed(0) ?? '',
    gbps.toFixed(1),
  ]);
  return `# Benchmarks

Results of this project's benchmark suite on one machine. The same commands measure yours. This page is written by \`npm run bench:report\`.

${list.join('\n')}

## Machine

${machine.cpu}, ${machine.cores} cores, ${machine.isas.join(', ')}; ${machine.caches.join(', ')}; ${machine.memoryGiB} GiB; ${machine.system}; Node ${machine.node}.

${table(['instruction set', 'threads', 'peak GFLOP/s', 'of bfloat16', 'peak read GB/s'], limits)}

${summaryTables(figures)}## Runs

${runTable(runs)}

## How to read it

- Times are medians. The spread is half the distance between the quartiles.
- All contenders take turns within one run. Before that, their results are checked to be equal.
- "vs X" is how many times faster we are than X with the same structure. "vs X dense" compares with X's dense layer. Both are in the
  same precision, and of several ways to use X the fastest counts, named in brackets: eager or compiled (\`torch.compile\`), for bfloat16
  float32 tensors under \`autocast\` or tensors of bfloat16. Training has only autocast. int8 is compared with the fastest of any precision.
- Percentages of the peak compare with peaks that the suite measured on this machine in the same runs: multiply-adds in registers, of
  pairs of bfloat16 where the processor multiplies those, and reads from memory.
- "cold": calls rotate over copies of the weights of more than 100 MB, so they come from memory. "hot": one copy. From 9 tokens on there is
  one copy.
- GB/s counts inputs, weights and results once. It can exceed the peak of memory when they stay in caches.

    npm run bench                        # under 5 minutes; --help lists the filters
    npm run bench -- --full              # more widths, structures and token counts
    npm run bench -- --rivals pytorch,pytorch-compiled --precisions float32,bfloat16  # hours: each problem is compiled
    npm run bench:compare -- A.json B.json
    npm run bench:report -- runs/bench/FILE.json
`;
}

/** File name → content; a page whose suites did not run is left out. */
export function reportPages(
  runs: readonly ResultFile[],
  plots: ReadonlySet<string>,
  notes: boolean,
): Map<string, string> {
  const figures = mergeRuns(runs);
  const pages = new Map<string, string>();
  for (const { file, title, suites, text, body, plots: wanted } of PAGES) {
    if (!figures.results.some(({ suite }) => suites.includes(suite))) continue;
    const pictures = wanted
      .filter((plot) => plots.has(plot))
      .map((plot) => `![${plot.replace('.svg', '')}](${plot})\n\n`);
    pages.set(file, `# ${title}\n\n${text}\n\n${pictures.join('')}${body(figures)}\n`);
  }
  pages.set('README.md', indexPage(runs, figures, [...pages.keys()], notes));
  return pages;
}
