/** The JSON of a LayersModel, as `model.toJSON` gives it, with some of its layers replaced. */
import { FormatError } from '../errors';
import { isObject } from '../options';
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

function replace(model: LayerJSON, replacements: ReadonlyMap<string, Replacement>): void {
  const models = new Set<string>();
  const layers = layersIn(model).filter(isLayer);
  for (const layer of layers) {
    if (layersIn(layer).length > 0) {
      replace(layer, replacements);
      continue;
    }
    const name = nameOf(layer);
    const replacement = replacements.get(name);
    if (replacement === undefined) continue;
    const { trainable, batch_input_shape: shape } = layer.config;
    layer.class_name = replacement.className;
    layer.config = { ...replacement.config, name, trainable, ...(shape !== undefined && { batch_input_shape: shape }) };
    if (replacement.className === 'Model') models.add(name);
  }
  for (const layer of layers) shiftNodes(layer.inbound_nodes, models);
  for (const key of ['input_layers', 'output_layers']) shiftNodes(model.config[key], models);
}

/**
 * A new model like `model`, with other classes and configs for the layers named in `replacements`; names, connections and
 * everything else stay. Its weights are fresh.
 */
export async function rebuild(
  tf: Tfjs,
  model: LayersModel,
  replacements: ReadonlyMap<string, Replacement>,
): Promise<LayersModel> {
  const json: unknown = model.toJSON(null, false);
  if (!isLayer(json)) throw new FormatError('model', 'no JSON of a LayersModel');
  replace(json, replacements);
  return tf.models.modelFromJSON(json as object as PyJSON);
}
