/** The pages of the report: an index with the machine, and one page for each kind of suite. */
import type { ResultFile } from '../harness/results';
import { type Figures, mergeRuns } from './figures';
import { goalsTable } from './goals';
import { table } from './markdown';
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
    text: 'Up to 8 tokens the weights come from memory: calls rotate over copies of more than 100 MB. A blockdense ratio is that of d → 4d and 4d → d together: the first has more parameters, the second fewer.',
    body: (figures) => goalsTable(figures) + timings(figures, 'kernels'),
  },
  {
    file: 'ffn.md',
    title: 'Feedforward networks',
    suites: ['ffn'],
    plots: [],
    text: 'Up, bias, GELU, down, bias. onnxruntime and TensorFlow.js compute forward only, on weights that may stay in the caches; TensorFlow.js on one thread.',
    body: (figures) => timings(figures, 'ffn'),
  },
  {
    file: 'training.md',
    title: 'A training step',
    suites: ['training', 'memory'],
    plots: [],
    text: 'Forward, loss, backward, clipping and AdamW. The first block is dense; losses were checked to agree over 3 steps. Memory is how much a fresh process grew at most.',
    body: trainingPage,
  },
  {
    file: 'decode.md',
    title: 'Decoding',
    suites: ['decode'],
    plots: [],
    text: 'One new token for each sequence of a batch, all of one length of context; the first block is dense. Weights are float32 where nothing else is said, activations always. Logits of the rivals were checked to agree. PyTorch is eager with keys and values kept in place; onnxruntime runs our export, whose cache comes back from each call as new tensors. Each structure takes turns with dense in tables of its own. "Matrices alone" are the linear layers of a step on one token, one call each, in turns with plain reads of 256 MB ("memory").',
    body: decodePage,
  },
  {
    file: 'tfjs.md',
    title: 'Inside tfjs models',
    suites: ['tfjs'],
    plots: [],
    text: 'A feedforward network as a layer of a tfjs model: `predict` of one batch with its result read, and `fit` of one batch with Adam. tfjs computes the same on the backend of the title with layers of its own, on one thread. Copies between tfjs and the kernels are included (there are none on these backends).',
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
    text: 'What remains when there is nothing to compute.',
    body: overheadPage,
  },
];

/** Written by hand, beside the pages; linked where it exists. */
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

function indexPage(
  runs: readonly ResultFile[],
  { peaks }: Figures,
  written: readonly string[],
  notes: boolean,
): string {
  const machine = runs[runs.length - 1]!.machine;
  const list = PAGES.filter(({ file }) => written.includes(file)).map(({ file, title }) => `- [${title}](${file})`);
  if (notes) list.push(`- [What was not reached, and why](${NOTES})`);
  const limits = peaks.map(({ isa, threads, gflops, gbps }) => [
    isa,
    String(threads),
    gflops.toFixed(0),
    gbps.toFixed(1),
  ]);
  return `# Benchmarks

Measured by this project's own suite on one machine; the same commands measure yours. Written by \`npm run bench:report\`.

${list.join('\n')}

## Machine

${machine.cpu}, ${machine.cores} cores, ${machine.isas.join(', ')}; ${machine.caches.join(', ')}; ${machine.memoryGiB} GiB; ${machine.system}; Node ${machine.node}.

${table(['instruction set', 'threads', 'peak GFLOP/s', 'peak read GB/s'], limits)}

## Runs

${runTable(runs)}

## How to read it

Times are medians; the spread is half the distance between the quartiles. Contenders take turns within one run, after their results
were found equal. "vs X" is how many times faster we are than X with the same structure, "vs X dense" than X's dense layer.
Percentages of the peak compare with what the suite measured on this machine in the same runs: multiply-adds in registers, reads
from memory. GB/s counts inputs, weights and results once, so it can exceed the peak of memory where they stay in caches.

    npm run bench                        # under 5 minutes; --help lists the filters
    npm run bench -- --full              # more widths, structures and token counts
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
