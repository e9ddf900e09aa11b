/** Factored or merged, for every structured layer and token count, within a memory budget for the merged copies. */
import type { NativeModel } from '../../types/native';
import type { DecoderLayer, Form } from './layer';
import type { DecoderModel } from './model';
import { type Crossover, type CrossoverTable, prefersMerged, settingOf, tableKey } from './table';

/** How structured layers are computed: by their factors, merged into one matrix, or by what was measured. */
export type DispatchMode = 'factored' | 'merged' | 'auto';
export const MODES: readonly DispatchMode[] = ['factored', 'merged', 'auto'];

/** How structured layers were computed so far. */
export interface DispatchStats {
  /** Layers computed by their factors, over all calls. */
  readonly factored: number;
  /** Layers computed merged, over all calls. */
  readonly merged: number;
  /** Layers that were not merged because the budget did not allow it, over all calls. */
  readonly overBudget: number;
  /** Bytes of the merged copies. */
  readonly mergedBytes: number;
}

interface Choice {
  readonly bound: NativeModel;
  readonly factored: number;
  readonly merged: number;
  readonly overBudget: number;
}

export class Dispatcher {
  readonly #choices = new Map<string, Choice>();
  readonly #layers: readonly DecoderLayer[];
  /** The measurements of each layer with this setting; looked up again when it changes, not at every step. */
  #setting = '';
  #measured: (readonly Crossover[] | undefined)[] = [];
  #mergedBytes = 0;
  #factored = 0;
  #merged = 0;
  #overBudget = 0;

  constructor(
    readonly model: DecoderModel,
    readonly mode: DispatchMode,
    readonly table: CrossoverTable | undefined,
    readonly budget: number = Number.MAX_VALUE,
  ) {
    this.#layers = model.structuredLayers;
  }

  /** The model for a call of `tokens` tokens. */
  bound(tokens: number): NativeModel {
    // The key has everything that the choice depends on; with the token count itself, each count would have an entry.
    const wanted = this.#wantsMerged(tokens);
    const key = wanted.map(Number).join('');
    const choice = this.#choices.get(key) ?? this.#choose(wanted);
    this.#choices.set(key, choice);
    this.#factored += choice.factored;
    this.#merged += choice.merged;
    this.#overBudget += choice.overBudget;
    return choice.bound;
  }

  stats(): DispatchStats {
    return {
      factored: this.#factored,
      merged: this.#merged,
      overBudget: this.#overBudget,
      mergedBytes: this.#mergedBytes,
    };
  }

  /** For each structured layer. */
  #wantsMerged(tokens: number): boolean[] {
    if (this.mode !== 'auto') return this.#layers.map(({ mergeable }) => mergeable && this.mode === 'merged');
    const setting = settingOf(this.model.device);
    if (setting !== this.#setting) {
      this.#setting = setting;
      this.#measured = this.#layers.map(({ mergeable, factoredDims, dtype }) =>
        mergeable ? this.table?.get(tableKey(factoredDims, dtype, this.model.activations, setting)) : undefined,
      );
    }
    return this.#measured.map((measured) => prefersMerged(measured, tokens));
  }

  #choose(wanted: readonly boolean[]): Choice {
    const layers = this.#layers;
    const merged = new Set(layers.filter((layer, i) => wanted[i] && this.#affords(layer)));
    const form = (layer: DecoderLayer): Form => (merged.has(layer) ? 'merged' : 'factored');
    return {
      bound: this.model.bind(form),
      factored: layers.length - merged.size,
      merged: merged.size,
      overBudget: wanted.filter(Boolean).length - merged.size,
    };
  }

  #affords(layer: DecoderLayer): boolean {
    if (layer.hasMerged) return true;
    const after = this.#mergedBytes + layer.mergedBytes;
    if (after > this.budget) return false;
    this.#mergedBytes = after;
    return true;
  }
}
