/** From the times of products to the costs of the model in native/cuda/gemm/costs.cuh. */

/** One tile of a kernel at two depths, with one and with several blocks of threads to a multiprocessor. Nanoseconds. */
export interface TileTimes {
  /** Steps of a block, at either depth. */
  readonly steps: readonly [number, number];
  readonly single: readonly [number, number];
  readonly several: readonly [number, number];
  /** Blocks of each multiprocessor in `several`, and how many of them it holds at once. */
  readonly each: number;
  readonly resident: number;
  /** Of results, of a tile. */
  readonly bytes: number;
}

export interface TileCosts {
  readonly step: number;
  readonly latency: number;
  readonly stall: number;
  /** Of 128 bytes. */
  readonly store: number;
}

/** No cost is 0: below this part of a step, noise decides. */
const LEAST = 1e-3;

/**
 * A block alone takes latency + steps · (stall + step) + stores. Several blocks hide each other's waiting and take
 * latency + each · (steps · step + stores). If a multiprocessor holds only one, `shared` gives what cannot be told
 * apart.
 */
export function fitTile(times: TileTimes, shared: Omit<TileCosts, 'step'> | null): TileCosts {
  const { steps, single, several, each, resident, bytes } = times;
  const deeper = steps[1] - steps[0];
  const alone = (single[1] - single[0]) / deeper;
  const least = LEAST * Math.max(alone, LEAST);
  const positive = (value: number) => Math.max(value, least);
  if (resident < 2) {
    const { latency, stall, store } = shared ?? {
      latency: positive(single[0] - steps[0] * alone),
      stall: least,
      store: least,
    };
    return { step: positive(alone - stall), latency, stall, store };
  }
  const step = (several[1] - several[0]) / (each * deeper);
  const waiting = single[0] - steps[0] * alone;
  const stores = (several[0] - each * steps[0] * step - waiting) / (each - 1);
  return {
    step: positive(step),
    latency: positive(waiting - stores),
    stall: positive(alone - step),
    store: positive((stores / bytes) * 128),
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** The costs of all tiles together: each has its own steps, and the rest is the median of the tiles that show it. */
export function fitTiles(tiles: ReadonlyMap<string, TileTimes>): Record<string, number> {
  const telling = [...tiles.values()].filter(({ resident }) => resident > 1).map((times) => fitTile(times, null));
  const common = (name: 'latency' | 'stall' | 'store') => median(telling.map((costs) => costs[name]));
  const shared =
    telling.length > 0 ? { latency: common('latency'), stall: common('stall'), store: common('store') } : null;
  const costs: Record<string, number> = {};
  for (const [name, times] of tiles) {
    const { step, ...rest } = fitTile(times, shared);
    costs[name] = step;
    Object.assign(costs, shared ?? rest);
  }
  return costs;
}

/** One launch for two products against two launches: measured, and by the model. */
export interface ChainTimes {
  readonly together: number;
  readonly alone: number;
  readonly modelled: { readonly together: number; readonly alone: number };
}

/** The factor by which the model may rate one launch slower than two that take equally long: the geometric mean. */
export function fitChains(chains: readonly ChainTimes[]): number {
  const logs = chains.map(({ together, alone, modelled }) =>
    Math.log(modelled.together / modelled.alone / (together / alone)),
  );
  return Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length);
}
