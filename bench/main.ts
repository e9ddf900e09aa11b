/** `npm run bench`: runs the suites and writes their figures to a JSON file, for `bench:compare` and `bench:report`. */
import type { Context } from './harness/context';
import { currentLoad, describeMachine, isExecutor } from './harness/machine';
import { betterPeak, measurePeak } from './harness/peak';
import { formatResult } from './harness/print';
import { type Result, writeResults } from './harness/results';
import type { Placement } from './harness/side';
import { parseOptions } from './options';
import { startRivals } from './rivals/start';
import { decode } from './suites/decode';
import { ffn } from './suites/ffn';
import { kernels } from './suites/kernels';
import { load } from './suites/load';
import { memory } from './suites/memory';
import { overhead } from './suites/overhead';
import { threads, tokens } from './suites/scaling';
import type { Suite } from './suites/suite';
import { tfjs } from './suites/tfjs';
import { training } from './suites/training';

// In the order of the report.
const SUITES: readonly Suite[] = [memory, overhead, kernels, ffn, training, decode, load, tfjs, threads, tokens];

const ON_CUDA: readonly Placement[] = [
  { device: 'cuda', dtype: 'float32' },
  { device: 'cuda', dtype: 'bfloat16' },
];

async function main(argv: readonly string[]): Promise<void> {
  const options = parseOptions(argv, SUITES);
  const log = (line: string) => console.log(line);
  const machine = describeMachine();
  log(`${machine.cpu}, ${machine.cores} cores, load ${machine.load[0]}, commit ${machine.commit}`);
  log(`cuda: ${machine.cuda}${isExecutor(machine) ? '; ITS TIMES MEAN NOTHING' : ''}`);
  const settings = options.isa.flatMap((isa) => options.threads.map((count) => ({ isa, count })));
  const repeats = Math.max(2, Math.ceil(options.time / 6));
  const peaksNow = () => settings.map(({ isa, count }) => measurePeak(isa, count, repeats));
  let peaks = peaksNow();
  for (const { isa, threads: count, gflops, bfloat16 = gflops, gbps } of peaks) {
    const limits = `${gflops.toFixed(0)} GFLOP/s, ${bfloat16.toFixed(0)} of bfloat16, ${gbps.toFixed(1)} GB/s`;
    log(`peak ${isa}, ${count} threads: ${limits}`);
  }
  const rivals = await startRivals(options.rivals, options.python, log);

  const all: Result[] = [];
  const { time, rounds, full, isa, suite, device, ...filters } = options;
  const context: Context = {
    full,
    filters,
    sampling: { milliseconds: time, rounds },
    threads: options.threads,
    isas: isa,
    rivals,
    placements: device.includes('cuda') ? ON_CUDA : [],
    add: (results) => {
      all.push(...results);
      for (const result of results) if (!result.phase.startsWith('kernel')) log(formatResult(result, results, peaks));
    },
    log,
  };
  try {
    for (const one of SUITES.filter(({ name }) => suite.includes(name))) {
      log(`\n== ${one.name}: ${one.about}`);
      await one.run(context);
    }
  } finally {
    for (const rival of rivals) await rival.close();
  }
  peaks = peaksNow().map((peak, i) => betterPeak(peak, peaks[i] ?? peak));
  writeResults(options.out, {
    format: 'structured-ffn-bench',
    version: 1,
    command: ['npm run bench --', ...argv.filter((one, i) => one !== '--out' && argv[i - 1] !== '--out')].join(' '),
    machine: { ...machine, load: [...machine.load, currentLoad()] },
    rivals: rivals.map(({ name }) => name),
    peaks,
    results: all,
  });
  log(`\nwritten: ${options.out}`);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
