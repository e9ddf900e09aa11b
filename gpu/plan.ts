/** The commands of the stages, and how long each may take. */
import { availableParallelism } from 'node:os';
import type { Device } from '../lib/device';
import { SANITIZERS } from './sanitizer';
import { EXTENSION, node, nodeScript } from './support/node_script';
import { type Size, type Stage, TESTS } from './support/rows';

/** What a machine may lack; without it a command is skipped. */
export type Need = 'a CUDA device' | 'PyTorch' | 'compute-sanitizer' | 'cuobjdump' | 'ncu';

export interface Command {
  readonly stage: Stage;
  readonly name: string;
  readonly argv: readonly string[];
  /** Seconds until it is killed. */
  readonly limit: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly needs?: readonly Need[];
  /** It is ended when the others of its step are done, if there are any, even if it is unfinished. */
  readonly background?: boolean;
}

/** Commands that run at the same time; the next step waits for all of them. */
export type Step = readonly Command[];

/** The command without which no other can run. */
export const PROBE = 'probe';

export interface PlanOptions {
  readonly device: Device;
  readonly size: Size;
  /** Where rows go. */
  readonly results: string;
  readonly python: string;
  /** The lists of gpu/problems.ts. */
  readonly problems: string;
}

/** The time for a whole run on a GPU, including unpacking: gpu/run.sh ends it then. */
export const WHOLE_SECONDS = 480;
/** The part of it for unpacking. */
export const UNPACK_SECONDS = 15;

/** For each step; its commands have this long, or less. */
export const LIMITS = {
  probe: 40,
  correctness: 105,
  kernels: 40,
  switches: 5,
  torchKernels: 40,
  training: 45,
  torchTraining: 60,
  decoding: 30,
  torchDecoding: 25,
  profile: 45,
} as const;

const TESTS_ANYWHERE = ['test/ops', 'test/optim'];
const TESTS_CUDA = ['kernels', 'decode', 'device', 'tf32', 'training', 'counting'].map(
  (name) => `test/cuda/${name}.test`,
);
const TESTS_TINY = ['test/ops/linear', 'test/ops/attention', 'test/optim'];

function testsFor(device: Device, size: Size): string[] {
  if (size === 'tiny') return TESTS_TINY;
  return device === 'cuda' ? [...TESTS_ANYWHERE, ...TESTS_CUDA] : TESTS_ANYWHERE;
}

/** Kernels chosen by hand; the command before covers the choice of native/cuda/gemm/gemm.cu. */
const SWITCHES = [
  ['with chains', { STRUCTURED_FFN_CUDA_CHAINS: 'on' }],
  ['without chains', { STRUCTURED_FFN_CUDA_CHAINS: 'off' }],
  ['without wgmma', { STRUCTURED_FFN_CUDA_WGMMA: 'off' }],
  ['tiles of 64', { STRUCTURED_FFN_CUDA_TILE: '64' }],
  ['tiles of 128', { STRUCTURED_FFN_CUDA_TILE: '128' }],
] as const;

export function planOf({ device, size, results, python, problems }: PlanOptions): Step[] {
  /** A script begins nothing new shortly before it would be killed. */
  const options = (stage: Stage, name: string, limit: number, ofSize: Size = size) => [
    ...[`--stage=${stage}`, `--command=${name}`, `--device=${device}`, `--size=${ofSize}`],
    ...[`--results=${results}`, `--seconds=${limit - Math.min(10, Math.ceil(limit / 5))}`],
  ];
  const ours = (stage: Stage, name: string, script: string, limit: number, ...args: string[]): Command => ({
    stage,
    name,
    argv: nodeScript(`gpu/${script}`, ...options(stage, name, limit), ...args),
    limit,
  });
  const torch = (stage: Stage, name: string, script: string, limit: number, ...args: string[]): Command => ({
    stage,
    name,
    argv: [python, `gpu/torch/${script}.py`, ...options(stage, name, limit), `--problems=${problems}`, ...args],
    limit,
    needs: ['PyTorch'],
  });
  /** A tool ends its target before its own limit. */
  const tool = (
    needed: Need,
    stage: Stage,
    name: string,
    script: string,
    limit: number,
    ofSize: Size,
    only?: string,
  ): Command => ({
    stage,
    name,
    argv: nodeScript(`gpu/${script}`, ...options(stage, name, limit, ofSize), ...(only ? [`--only=${only}`] : [])),
    limit,
    needs: ['a CUDA device', needed],
  });
  const cuda: Pick<Command, 'needs'> = { needs: ['a CUDA device'] };
  const cores = availableParallelism();
  const few = { STRUCTURED_FFN_NUM_THREADS: String(Math.max(1, cores >> 2)) };
  const workers = Math.max(1, Math.min(3, cores >> 1));
  const { correctness } = LIMITS;
  const smaller = size === 'full' ? 'small' : size;

  const jest = node(
    'node_modules/jest/bin/jest.js',
    ...testsFor(device, size),
    ...[
      '--ci',
      `--maxWorkers=${workers}`,
      '--reporters=default',
      `--reporters=<rootDir>/gpu/jest_reporter${EXTENSION}`,
    ],
  );
  const products = (type: string): Command => ({
    ...cuda,
    stage: 'b',
    name: `products in ${type}`,
    argv: nodeScript('test/cuda/products', '--keep-going', `--type=${type}`),
    limit: correctness,
    env: few,
  });

  return [
    [ours('a', PROBE, 'probe', LIMITS.probe), torch('a', 'PyTorch', 'probe', LIMITS.probe)],
    [
      {
        stage: 'b',
        name: TESTS,
        argv: jest,
        limit: correctness,
        env: { ...few, STRUCTURED_FFN_TEST_DEVICE: device, GPU_RESULTS: results },
      },
      products('bfloat16'),
      products('float32'),
      { ...ours('b', 'large sizes', 'big', correctness), env: few },
      { ...ours('b', 'threads', 'threads', 60), env: few },
      { ...ours('b', 'capture', 'capture_race', 30), ...cuda },
      tool('cuobjdump', 'c', 'machine code', 'sass', 60, smaller),
      ...SANITIZERS.map((name) => tool('compute-sanitizer', 'c', name, 'sanitizer', correctness, smaller, name)),
      // So that stage e does not wait for compilers.
      {
        ...torch('e', 'PyTorch compiles', 'train', correctness, '--warm-up'),
        needs: ['a CUDA device', 'PyTorch'],
        background: true,
      },
    ],
    [ours('d', 'kernels', 'kernels', LIMITS.kernels)],
    ...SWITCHES.map(([name, env]) => [
      { ...ours('d', `kernels ${name}`, 'kernels', LIMITS.switches, '--only=switches'), ...cuda, env },
    ]),
    [torch('d', 'kernels of PyTorch', 'kernels', LIMITS.torchKernels)],
    [ours('e', 'training', 'train', LIMITS.training)],
    [torch('e', 'training of PyTorch', 'train', LIMITS.torchTraining)],
    [ours('f', 'decoding', 'decode', LIMITS.decoding)],
    [torch('f', 'decoding of PyTorch', 'decode', LIMITS.torchDecoding)],
    [tool('ncu', 'g', 'ncu', 'profile', LIMITS.profile, size)],
  ];
}

/** The longest that the steps can take. */
export const secondsOf = (steps: readonly Step[]): number =>
  steps.reduce((total, step) => total + Math.max(...step.map(({ limit }) => limit)), 0);
