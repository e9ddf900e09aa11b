/** The command line of the benchmarks. */
import { Command, InvalidArgumentError } from 'commander';
import { availableDevices, availableIsas, checkDevice, type Device, getNumThreads, type Isa } from '../lib/device';
import { native } from '../lib/native';
import type { Phase } from './harness/problem';
import { PRECISIONS, type Precision } from './harness/side';
import { RIVAL_NAMES, type RivalName, USUAL_RIVALS } from './rivals/start';
import type { Suite } from './suites/suite';

export interface BenchOptions {
  readonly suite: readonly string[];
  readonly op?: readonly string[];
  readonly structure?: readonly string[];
  readonly shape?: readonly string[];
  readonly tokens?: readonly number[];
  readonly phase?: readonly Phase[];
  readonly precisions?: readonly Precision[];
  readonly threads: readonly number[];
  readonly isa: readonly Isa[];
  /** Besides the CPU. */
  readonly device: readonly Device[];
  readonly time: number;
  readonly rounds: number;
  readonly full: boolean;
  readonly rivals: readonly RivalName[];
  readonly python?: string;
  readonly out: string;
}

function list<T extends string>(choices?: readonly T[]): (text: string) => T[];
function list(choices?: readonly string[]) {
  return (text: string) => {
    const items = text.split(',').map((item) => item.trim());
    const wrong = items.find((item) => item === '' || (choices && !choices.includes(item)));
    if (wrong !== undefined)
      throw new InvalidArgumentError(choices ? `Choose from ${choices.join(', ')}.` : 'Separate values by commas.');
    return items;
  };
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('A positive number is needed.');
  return value;
}

function counts(text: string): number[] {
  return text.split(',').map((item) => {
    const value = positive(item);
    if (!Number.isInteger(value)) throw new InvalidArgumentError('Whole numbers are needed.');
    return value;
  });
}

const stamp = () => new Date().toISOString().slice(0, 19).replaceAll(':', '-');

export function parseOptions(argv: readonly string[], suites: readonly Suite[]): BenchOptions {
  const names = suites.map(({ name }) => name);
  const command = new Command('bench')
    .description('Measures this machine, ours and rivals, and writes the figures to a file.')
    .option('--suite <names>', `any of ${names.join(', ')}`, list(names), names)
    .option('--op <names>', 'linear, ffn, training, decode, memory, overhead', list())
    .option('--structure <names>', 'by the beginning of the name; dense is always measured too', list())
    .option('--shape <shapes>', 'such as 768x3072,3072x768', list())
    .option('--tokens <counts>', 'such as 1,512; of decode: batch sizes', counts)
    .option('--phase <phases>', 'forward, forward+backward', list<Phase>(['forward', 'forward+backward']))
    .option(
      '--precisions <names>',
      'float32, bfloat16 (without a choice where the processor multiplies it), int8 (weights of decode)',
      list(PRECISIONS),
    )
    .option('--threads <counts>', 'threads to use, in turn', counts, [getNumThreads()])
    .option('--isa <names>', 'instruction sets to use, in turn', list(availableIsas()), availableIsas().slice(0, 1))
    .option(
      '--device <names>',
      'where ours computes, the CPU always among them',
      list<Device>(['cpu', 'cuda']),
      availableDevices(),
    )
    .option('--time <milliseconds>', 'per variant and round', positive, 40)
    .option('--rounds <count>', 'rounds in which all take turns', positive, 4)
    .option('--full', 'more structures, widths and token counts', false)
    .option('--rivals <names>', `any of ${RIVAL_NAMES.join(', ')}`, list(RIVAL_NAMES), [...USUAL_RIVALS])
    .option('--no-rivals', 'ours alone')
    .option('--python <file>', 'a Python with torch', process.env.STRUCTURED_FFN_PYTHON)
    .option('--out <file>', 'where the figures go', `runs/bench/${stamp()}.json`)
    .addHelpText('after', `\nSuites:\n${suites.map(({ name, about }) => `  ${name.padEnd(10)}${about}`).join('\n')}`)
    .parse(argv, { from: 'user' });
  const { rivals, ...options } = command.opts();
  const most = native.availableProcessors();
  if (options.threads.some((count: number) => count > most))
    command.error(`error: --threads: expected at most ${most}, the processors that this process may use`);
  for (const device of options.device) checkDevice('--device', device);
  return { ...options, rivals: rivals || [] } as BenchOptions;
}
