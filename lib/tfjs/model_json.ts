/** The JSON of a LayersModel, as `model.toJSON` gives it, with some of its layers replaced. */
import { FormatError, OptionError } from '../errors';
import { isObject } from '../options';
import { layersOf, TIME_DISTRIBUTED } from './layers/self_guided';
import type { LayersModel, Tfjs } from './tfjs';

type PyJSON = Parameters<Tfjs['models']['modelFromJSON']>[0];

/** A layer in the JSON; `config` has the keys of Python, in snake_case. */
export interface LayerJSON {
  class_name: string;
  config: { [key: string]: unknown };
  [key: string]: unknown;
}

const isLayer = (value: unknown): value is LayerJSON =>
  isObject(value) && typeof value.class_name === 'string' && value.config !== null && typeof value.config === 'object';

/** The layers of a model's JSON: sequential ones have a bare list in some versions. */
function layersIn({ config }: LayerJSON): unknown[] {
  if (Array.isArray(config)) return config;
  return Array.isArray(config.layers) ? config.layers : [];
}

const nameOf = ({ config }: LayerJSON): string => String(config.name);

/** A reference to a layer's output: [name, node, tensor, ...]. */
const isReference = (value: unknown[]): boolean => typeof value[0] === 'string' && typeof value[1] === 'number';

/** Moves references to layers in `names` to the next node: a model as a layer has a first node of its own. */
function shiftNodes(value: unknown, names: ReadonlySet<string>): void {
  if (!Array.isArray(value)) return;
  if (!isReference(value)) for (const one of value) shiftNodes(one, names);
  else if (names.has(String(value[0]))) value[1] = Number(value[1]) + 1;
}

export interface Replacement {
  /** 'Model' for one of several layers. */
  readonly className: string;
  /** With the keys of Python. */
  readonly config: object;
}

/** Replaces one layer, or those inside it. */
function replaceLayer(layer: LayerJSON, replacements: ReadonlyMap<string, Replacement>): void {
  if (layersIn(layer).length > 0) {
    replace(layer, replacements);
    return;
  }
  if (layer.class_name === TIME_DISTRIBUTED && isLayer(layer.config.layer)) {
    replaceLayer(layer.config.layer, replacements);
    return;
  }
  const name = nameOf(layer);
  const replacement = replacements.get(name);
  if (replacement === undefined) return;
  const { trainable, batch_input_shape: shape } = layer.config;
  layer.class_name = replacement.className;
  layer.config = { ...replacement.config, name, trainable, ...(shape !== undefined && { batch_input_shape: shape }) };
}

function replace(model: LayerJSON, replacements: ReadonlyMap<string, Replacement>): void {
  const layers = layersIn(model).filter(isLayer);
  for (const layer of layers) replaceLayer(layer, replacements);
  const replaced = layers.map(nameOf).filter((name) => replacements.get(name)?.className === 'Model');
  const models = new Set(replaced);
  for (const layer of layers) shiftNodes(layer.inbound_nodes, models);
  for (const key of ['input_layers', 'output_layers']) shiftNodes(model.config[key], models);
}

/**
 * A new model like `model`, with other classes and configs for the layers named in `replacements`; names, connections and
 * everything else stay. Its weights are fresh.
 * @throws {OptionError} when two layers with weights have one name, as models in one another may: the wrong one could be taken.
 */
export async function rebuild(
  where: string,
  tf: Tfjs,
  model: LayersModel,
  replacements: ReadonlyMap<string, Replacement>,
): Promise<LayersModel> {
  const names = [...new Set(layersOf(model))].filter(({ weights }) => weights.length > 0).map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new OptionError(`${where}: model`, 'layers of different names', `two named ${twice}`);
  const json: unknown = model.toJSON(null, false);
  if (!isLayer(json)) throw new FormatError('model', 'no JSON of a LayersModel');
  replace(json, replacements);
  return tf.models.modelFromJSON(json as object as PyJSON);
}
