/**
 * Stage d, ours: the time of layers, feedforward networks and attention. `--only=switches` takes a few of them, with
 * kernels chosen by STRUCTURED_FFN_CUDA_CHAINS, _WGMMA and _TILE. Every row contains these settings.
 */
import { causalAttention, clone, feedForward, noGrad, type Shape, structuredLinear, type Tensor, tidy } from '../lib';
import { native } from '../lib/native';
import { type KernelProblem, kernelProblems, type LayerShapes, switchProblems } from './problems';
import { RepeatedDraws } from './support/draws';
import { Script } from './support/options';
import { OURS } from './support/rows';
import { round, settle, timeCalls } from './support/timing';

const script = new Script();
const { device, dtype, size } = script;
const generator = new RepeatedDraws(1);

const SWITCH = 'STRUCTURED_FFN_CUDA_';
const switches = ['CHAINS', 'WGMMA', 'TILE']
  .flatMap((name) => (process.env[SWITCH + name] ? [`${name}=${process.env[SWITCH + name]}`] : []))
  .join(' ');

type Launches = Readonly<Record<string, number>>;

/** The launches between two counts. */
function launchesBetween(before: Launches, after: Launches): Launches {
  const counts = Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

interface Weights {
  readonly v: Tensor | null;
  readonly u: Tensor;
}

/** `copies` tensors with the same values, each in its own memory. */
function drawn(shape: Shape, std: number, requiresGrad: boolean, copies = 1): Tensor[] {
  const first = tidy(() => generator.normal(shape, 0, std).as(dtype).to(device));
  const all = [first, ...Array.from({ length: copies - 1 }, () => noGrad(() => clone(first)))];
  for (const t of all) t.requiresGrad = requiresGrad;
  return all;
}

function layerCopies({ v, u }: LayerShapes, requiresGrad: boolean, copies: number): Weights[] {
  const weight = (shape: Shape) => drawn(shape, 1 / Math.sqrt(shape.at(-1)!), requiresGrad, copies);
  const [vs, us] = [v && weight(v), weight(u)];
  return us.map((u, i) => ({ v: vs && vs[i]!, u }));
}

/** A call of the problem, and all the tensors that it needs. */
function prepare({ op, phase, tokens, width, layers, batch, heads, copies }: KernelProblem) {
  const backward = phase !== 'forward';
  const attention = op === 'attention';
  const [x] = drawn(attention ? [batch, tokens / batch, 3 * width] : [tokens, width], 1, backward) as [Tensor];
  const perLayer = layers.map((shapes) => layerCopies(shapes, backward, copies));
  const sets = Array.from({ length: copies }, (_, i) => perLayer.map((layer) => layer[i]!));
  const apply = ([first, second]: readonly Weights[]): Tensor => {
    if (attention) return causalAttention(x, { heads, ropeBase: 0 });
    return second ? feedForward(x, first!, second, 'gelu') : structuredLinear(x, first!);
  };
  const shape = noGrad(() => tidy(() => apply(sets[0]!).shape));
  const dy = backward ? drawn(shape, 1, false)[0]! : null;
  const leaves = sets.map((set) => [x, ...set.flatMap(({ v, u }) => (v ? [v, u] : [u]))]);
  let next = 0;
  const call = () => {
    const i = next++ % copies;
    if (!dy) return noGrad(() => tidy(() => void apply(sets[i]!)));
    tidy(() => apply(sets[i]!).backward(dy));
    for (const leaf of leaves[i]!) {
      leaf.grad?.dispose();
      leaf.grad = null;
    }
  };
  const dispose = () => {
    for (const t of new Set([...leaves.flat(), ...(dy ? [dy] : [])])) t.dispose();
  };
  return { call, dispose };
}

function measure(problem: KernelProblem): void {
  const { call, dispose } = prepare(problem);
  try {
    const { milliseconds, enqueueMilliseconds } = timeCalls(device, call);
    const before = native.kernelLaunches();
    call();
    settle(device);
    script.emit({
      kind: 'kernel',
      side: OURS,
      problem: problem.name,
      microseconds: round(1e3 * milliseconds, 2),
      enqueueMicroseconds: round(1e3 * enqueueMilliseconds, 2),
      tflops: round(problem.flops / milliseconds / 1e9, 3),
      launches: launchesBetween(before, native.kernelLaunches()),
      switches: switches || undefined,
    });
  } finally {
    dispose();
  }
}

script.checkParts(['switches']);
const problems = script.only ? switchProblems(size) : kernelProblems(size);
let done = 0;
for (const problem of problems) {
  if (script.timeIsUp) break;
  try {
    measure(problem);
    done++;
  } catch (error) {
    script.fail(problem.name, error);
  }
}
script.emit({ kind: 'coverage', side: [OURS, switches].filter(Boolean).join(' '), done, of: problems.length });
