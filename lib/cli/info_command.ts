/** `structured-ffn info`. */
import { cpus } from 'node:os';
import {
  availableDevices,
  availableIsas,
  cudaStatus,
  getIsa,
  getNumThreads,
  hostKernels,
  memoryStats,
} from '../device';
import { FeedForward, STRUCTURE_NAMES } from '../nn';
import { resolveFeedForward } from '../nn/transformer_config';
import { tidy } from '../scope';

export interface InfoOptions {
  readonly dModel: number;
  readonly dFf?: number;
  readonly ratio: number;
  readonly json?: boolean;
}

interface Cost {
  readonly structure: string;
  readonly sizes: string;
  readonly parameters: number;
  readonly megaFlopsPerToken: number;
  /** Weights, gradients and both moments, in float32. */
  readonly trainingMegabytes: number;
}

function cost(structure: (typeof STRUCTURE_NAMES)[number], { dModel, dFf, ratio }: InfoOptions): Cost {
  // The paper's initialisations cost a factorisation; sizes are the same without it.
  const init = 'normal';
  const size = structure === 'dense' ? {} : { ratio, init: init as 'normal' };
  return tidy(() => {
    const ffn = new FeedForward({ dModel, dFF: dFf, structure, ...size });
    const { rank, nblocks } = ffn.layers[0].describe();
    const parameters = ffn.numParameters();
    const result = {
      structure,
      sizes:
        [rank && `rank ${rank}`, nblocks && `${[nblocks].flat().join(' and ')} blocks`].filter(Boolean).join(', ') ||
        '-',
      parameters,
      megaFlopsPerToken: ffn.flopsPerToken / 1e6,
      trainingMegabytes: (parameters * 16) / 2 ** 20,
    };
    ffn.dispose();
    return result;
  });
}

export function infoCommand(options: InfoOptions): void {
  const { dModel, dFF } = resolveFeedForward({ dModel: options.dModel, dFF: options.dFf });
  const devices = availableDevices();
  const machine = {
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    threads: getNumThreads(),
    isa: getIsa(),
    isas: availableIsas(),
    devices,
    cuda: cudaStatus(),
    /** By device, the kernels that it leaves to the host. */
    hostKernels: Object.fromEntries(devices.map((device) => [device, hostKernels(device)])),
    memoryLimit: memoryStats().limit,
  };
  const costs = STRUCTURE_NAMES.map((structure) => cost(structure, options));
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ machine, costs })}\n`);
    return;
  }
  const { threads, isa, isas, cuda, memoryLimit } = machine;
  const lines = [
    `node ${machine.node}, ${machine.platform}, ${machine.processor}`,
    `threads ${threads}, instruction set ${isa} (of ${isas.join(', ')})`,
    `devices ${devices.join(', ')}; CUDA: ${cuda}`,
    ...devices
      .filter((device) => hostKernels(device).length > 0)
      .map((device) => `on the host for ${device}: ${hostKernels(device).join(', ')}`),
    `memory limit ${(memoryLimit / 2 ** 30).toFixed(1)} GiB`,
    '',
    `A feedforward network of width ${dModel}, hidden ${dFF}, ratio ${options.ratio}:`,
    ['structure', 'sizes', 'parameters', 'MFLOP/token', 'MiB to train'],
    ...costs.map((row) => [
      row.structure,
      row.sizes,
      row.parameters.toLocaleString('en'),
      row.megaFlopsPerToken.toFixed(2),
      row.trainingMegabytes.toFixed(1),
    ]),
  ];
  const table = lines.filter((line) => typeof line !== 'string');
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const text = lines.map((line) =>
    typeof line === 'string'
      ? line
      : line.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
  );
  process.stdout.write(`${text.join('\n')}\n`);
}
