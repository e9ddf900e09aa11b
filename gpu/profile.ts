/** Stage g: ncu over gpu/one_of_each.ts: how far the main kernels are from the device's limits. */
import { nodeScript } from './support/node_script';
import { Script } from './support/options';
import type { ProfileRow } from './support/rows';
import { eachLine, ranOver } from './support/tool';

/** Families of kernels by the beginnings of their names, and the parts that launch them. */
const KERNELS = [
  'gemm_wgmma',
  'gemm_bf16',
  'gemm_chain',
  'attention_forward',
  'query_gradient',
  'key_gradient',
  'norm_backward',
  'adamw',
  'decode_product',
];
const PARTS = 'dense,lowrank,blockshuffle,interleaved,network,attention,norm,optimizer,decoding';
const SECTIONS = [
  'SpeedOfLight',
  'LaunchStats',
  'Occupancy',
  'MemoryWorkloadAnalysis',
  'ComputeWorkloadAnalysis',
  'WarpStateStats',
];
const MOST_LAUNCHES = 48;

export const METRICS = [
  'Duration',
  'Compute (SM) Throughput',
  'DRAM Throughput',
  'L1/TEX Hit Rate',
  'L2 Hit Rate',
  'Mem Busy',
  'Executed Ipc Active',
  'Registers Per Thread',
  'Achieved Occupancy',
  'Dynamic Shared Memory Per Block',
] as const;

/** The fields of a line of CSV in which everything is quoted. */
const fields = (line: string): string[] =>
  [...line.matchAll(/"((?:[^"]|"")*)"/g)].map(([, text]) => text!.replaceAll('""', '"'));

/** A kernel's name with its template arguments, without its return and parameter types. */
const shortName = (name: string): string =>
  name
    .replaceAll('(anonymous namespace)::', '')
    .replace(/^void /, '')
    .replace(/\((?:[^()]|\([^()]*\))*\)$/, '');

/** Gathers the lines of `ncu --csv --page details`, one for each metric of a launch. */
export class ProfileReader {
  readonly launches = new Map<string, ProfileRow & { readonly metrics: Record<string, string> }>();
  #names: string[] | undefined;

  take(line: string): void {
    const values = fields(line);
    if (values[0] === 'ID') this.#names = values;
    else if (this.#names && values.length === this.#names.length) this.#add(values);
  }

  #add(values: readonly string[]): void {
    const get = (name: string) => values[this.#names!.indexOf(name)] ?? '';
    const id = get('ID');
    const kernel = shortName(get('Kernel Name'));
    const row = this.launches.get(id) ?? { kind: 'profile', kernel, grid: get('Grid Size'), metrics: {} };
    this.launches.set(id, row);
    const name = get('Metric Name');
    if ((METRICS as readonly string[]).includes(name))
      row.metrics[name] = `${get('Metric Value')} ${get('Metric Unit')}`.trim();
  }
}

async function main(): Promise<void> {
  const script = new Script();
  const reader = new ProfileReader();
  // Programs may not change the clocks of a borrowed card.
  const ncu = ['ncu', '--clock-control', 'none', '--csv', '--page', 'details', '--launch-count', String(MOST_LAUNCHES)];
  const sections = SECTIONS.flatMap((section) => ['--section', section]);
  const target = nodeScript('gpu/one_of_each', `--device=${script.device}`, `--size=${script.size}`, `--only=${PARTS}`);
  const command = [...ncu, ...sections, '-k', `regex:${KERNELS.join('|')}`, ...target];
  const status = await eachLine(script.seconds, command, {}, (line) => {
    console.log(line);
    reader.take(line);
  });
  for (const row of reader.launches.values()) script.emit(row);
  const found = reader.launches.size;
  script.emit({ kind: 'fact', name: 'launches profiled', value: found });
  if (found === 0 || (status !== 0 && !ranOver(status))) process.exitCode = 1;
}

if (require.main === module) void main();
