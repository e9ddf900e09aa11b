/** Measures on this machine what the dispatcher needs: factors against merged matrix, by token count. */
import { full } from '../creation';
import { type Device, synchronize } from '../device';
import { checkChoice, checkInstance, checkInteger } from '../errors';
import { kernels } from '../kernels';
import { native } from '../native';
import { TransformerLM } from '../nn';
import { checkKeys } from '../options';
import { tidy } from '../scope';
import { Storage } from '../storage';
import { isMergeable, plain } from './layer';
import { type ActivationDType, checkActivations, WEIGHT_DTYPES, type WeightDType, WeightMatrix } from './matrix';
import { type Crossover, type CrossoverTable, settingOf, tableKey } from './table';

/** Options of `tune`. */
export interface TuneOptions {
  /** Default: float32. */
  readonly dtype?: WeightDType;
  /** How products take their rows: what the decoder will be asked for. Default: float32. */
  readonly activations?: ActivationDType;
  /** Token counts to measure. Default: 1 to 256. */
  readonly tokens?: readonly number[];
  /** Time for each form at each token count. Default: 40. */
  readonly milliseconds?: number;
  /** Its entries are not measured again. */
  readonly known?: CrossoverTable;
  /** Called for each layer shape when it is done. */
  readonly onShape?: (key: string, measured: readonly Crossover[]) => void;
}

const TOKENS = [1, 2, 4, 8, 12, 16, 32, 64, 256];

/** A decoding step reads its weights from memory, not from a cache: copies of this many bytes in total take turns. */
const COLD_BYTES = 64e6;
const LEAST_ROUNDS = 9;

/** A layer in one form, several times. */
class ColdLayer implements Disposable {
  readonly #copies: { v: WeightMatrix | null; u: WeightMatrix }[] = [];
  #next = 0;

  constructor(
    readonly dims: Int32Array,
    structured: boolean,
    dtype: WeightDType,
    readonly activations: ActivationDType,
    readonly device: Device,
  ) {
    const [K = 1, q = 1, p = 1, L = 1, s = 1, r = 1] = dims;
    const matrix = (shape: number[]) =>
      WeightMatrix.of(
        tidy(() => full(shape, 0.01, { device })),
        true,
      ).as(dtype);
    let bytes = 0;
    do {
      const copy = { v: structured ? matrix([K * q, p]) : null, u: matrix([L * s, r]) };
      this.#copies.push(copy);
      bytes += (copy.v?.bytes ?? 0) + copy.u.bytes;
    } while (bytes < COLD_BYTES && this.#copies.length < 64);
  }

  /** Microseconds of one call, on the copy whose turn it is. */
  time(x: Storage, y: Storage, tokens: number): number {
    const { v, u } = this.#copies[this.#next++ % this.#copies.length]!;
    const start = performance.now();
    kernels.decode_linear({
      x,
      v,
      v_scales: v?.scales ?? null,
      u,
      u_scales: u.scales,
      bias: null,
      y,
      n: tokens,
      dims: this.dims,
      activation: native.activations.none,
      int8_rows: this.activations === 'int8' ? 1 : 0,
    });
    synchronize(this.device);
    return (performance.now() - start) * 1000;
  }

  [Symbol.dispose](): void {
    for (const { v, u } of this.#copies) {
      v?.dispose();
      u.dispose();
    }
  }
}

/** The lower quartile: other work on the machine only adds time. */
const typical = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 2] ?? 0;

/** Both forms in turns, so that a busy moment affects both. */
function measure(
  factored: ColdLayer,
  merged: ColdLayer,
  [x, y]: readonly [Storage, Storage],
  tokens: number,
  milliseconds: number,
): Crossover {
  const times: { factored: number[]; merged: number[] } = { factored: [], merged: [] };
  factored.time(x, y, tokens);
  merged.time(x, y, tokens);
  const end = performance.now() + 2 * milliseconds;
  while (times.factored.length < LEAST_ROUNDS || performance.now() < end) {
    times.factored.push(factored.time(x, y, tokens));
    times.merged.push(merged.time(x, y, tokens));
  }
  return { tokens, factored: typical(times.factored), merged: typical(times.merged) };
}

/**
 * The crossovers of every layer shape of a model, with the threads and instruction set in use. @throws {OptionError}
 */
export function tune(model: TransformerLM, options: TuneOptions = {}): Map<string, Crossover[]> {
  checkInstance('tune: model', model, TransformerLM);
  return tuneOn(model.embedding.weight.device, model, options);
}

/** The same on another device than the model's, of which only the sizes are used. */
export function tuneOn(device: Device, model: TransformerLM, options: TuneOptions): Map<string, Crossover[]> {
  checkKeys('tune', options, { dtype: 0, activations: 0, tokens: 0, milliseconds: 0, known: 0, onShape: 0 });
  const { dtype = 'float32', activations = 'float32', tokens = TOKENS } = options;
  const { milliseconds = 40, known, onShape = () => {} } = options;
  checkChoice('tune: dtype', dtype, WEIGHT_DTYPES);
  checkActivations('tune: activations', activations, dtype, device);
  for (const count of tokens) checkInteger('tune: tokens', count);
  const counts = [...new Set(tokens)].sort((a, b) => a - b);
  const most = Math.max(...counts);
  const table = new Map<string, Crossover[]>();
  for (const { dims } of model.blocks.flatMap(({ ffn }) => [ffn.fc1, ffn.fc2].filter(isMergeable).map(plain))) {
    const key = tableKey(dims.sizes, dtype, activations, settingOf(device));
    if (table.has(key) || known?.has(key)) continue;
    const [K = 1, , p = 1, L = 1, s = 1] = dims.sizes;
    using factored = new ColdLayer(dims.sizes, true, dtype, activations, device);
    using merged = new ColdLayer(Int32Array.of(1, K * p, K * p, 1, L * s, K * p, 0), false, dtype, activations, device);
    using x = new Storage(most * K * p, 'float32', device);
    using y = new Storage(most * L * s, 'float32', device);
    kernels.fill({ y: x, value: 0.5 });
    const measured = counts.map((count) => measure(factored, merged, [x, y], count, milliseconds));
    table.set(key, measured);
    onShape(key, measured);
  }
  return table;
}
