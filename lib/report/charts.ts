/** Curves of a run as SVG pictures, drawn by Vega-Lite. */
import { OptionError } from '../errors';
import { eventsOf, type RunRecord } from './record';

interface Point {
  readonly step: number;
  readonly value: number;
  readonly series: string;
}

/** The parts of vega and vega-lite that we use; both are ES modules and optional. */
interface VegaModules {
  readonly vega: {
    parse(spec: object): object;
    View: new (runtime: object, options: { renderer: 'none' }) => { toSVG(): Promise<string> };
  };
  readonly vegaLite: { compile(spec: object): { spec: object } };
}

async function loadVega(): Promise<VegaModules> {
  try {
    const [vega, vegaLite] = await Promise.all([import('vega'), import('vega-lite')]);
    return { vega, vegaLite } as unknown as VegaModules;
  } catch {
    throw new OptionError('--report', 'the packages vega and vega-lite (npm install vega vega-lite)', 'neither');
  }
}

/** @throws {OptionError} when the drawing library is not installed. */
export async function checkDrawing(): Promise<void> {
  await loadVega();
}

async function drawLines(modules: VegaModules, title: string, points: readonly Point[], log = false): Promise<string> {
  const spec = {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    width: 640,
    height: 240,
    title: { text: title, anchor: 'start' },
    data: { values: points },
    mark: { type: 'line', clip: true },
    encoding: {
      x: { field: 'step', type: 'quantitative', title: 'step', axis: { grid: false } },
      y: { field: 'value', type: 'quantitative', title: null, scale: { zero: !log } },
      color: { field: 'series', type: 'nominal', title: null, legend: { orient: 'top' } },
    },
    config: { view: { stroke: null }, font: 'system-ui, sans-serif' },
  };
  const view = new modules.vega.View(modules.vega.parse(modules.vegaLite.compile(spec).spec), { renderer: 'none' });
  return view.toSVG();
}

/** Mean over the neighbouring steps, so that the trend shows through the noise of single batches. */
function smooth(values: readonly number[], radius: number): number[] {
  return values.map((_, i) => {
    const around = values.slice(Math.max(0, i - radius), i + radius + 1);
    return around.reduce((sum, value) => sum + value, 0) / around.length;
  });
}

/** Loss, learning rate and α against the step. */
export async function drawCharts(record: RunRecord): Promise<string[]> {
  const modules = await loadVega();
  const steps = eventsOf(record, 'step');
  const series = (name: string, values: readonly number[]): Point[] =>
    values.map((value, i) => ({ step: steps[i]!.step, value, series: name }));
  const losses = steps.map(({ loss }) => loss);
  const horizontal = (name: string, value: number): Point[] =>
    [steps[0], steps.at(-1)].flatMap((end) => (end ? [{ step: end.step, value, series: name }] : []));
  const { baselines } = record.plan;
  const lossPoints = [
    ...series('training', losses),
    ...series('training, smoothed', smooth(losses, Math.max(1, Math.floor(losses.length / 40)))),
    ...eventsOf(record, 'evaluation').map(({ step, loss }) => ({ step, value: loss, series: 'validation' })),
    ...(baselines ? horizontal('unigram model', baselines.unigram) : []),
    ...(baselines ? horizontal('bigram model', baselines.bigram) : []),
  ];
  return [
    await drawLines(modules, 'Loss, nats per token', lossPoints, true),
    await drawLines(
      modules,
      'Learning rate',
      series(
        'learning rate',
        steps.map(({ learningRate }) => learningRate),
      ),
    ),
    await drawLines(
      modules,
      'Weight of the guide',
      series(
        'α',
        steps.map(({ alpha }) => alpha),
      ),
    ),
  ];
}
