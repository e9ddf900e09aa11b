/** The weights that a run starts from, where a checkpoint gives them. */
import { noGrad } from '../autograd';
import { OptionError } from '../errors';
import { loadCheckpoint, type TensorData } from '../io';
import {
  FeedForward,
  type FfnStructure,
  type LinearLayer,
  nearestFactors,
  type ResolvedConfig,
  resolveConfig,
  type SelfGuided,
  type TransformerConfig,
} from '../nn';
import { UNSET } from '../nn/init';
import { checkMergeable } from '../ops/inner_activation';
import { tidy } from '../scope';
import type { Shape, Tensor } from '../tensor';
import type { TrainConfig } from './config';
import { loadModel } from './load_model';

type Weights = Map<string, TensorData>;

const LAYERS = ['fc1', 'fc2'] as const;
/** The parameters of a feedforward layer that depend on its structure. */
const OF_STRUCTURE = /^blocks\.\d+\.ffn\.fc[12]\.(weight|v|u|guide)$/;

/**
 * The weights of `init` under the names of the run's model; null where there is none.
 * @throws {OptionError} for feedforward layers that are not those of `init`, unless they are to be converted.
 */
export function initialWeights({
  init,
  convertInit = false,
  model,
}: TrainConfig): ReadonlyMap<string, TensorData> | null {
  if (init === undefined) return null;
  if (convertInit) return convertedWeights(init, resolveConfig(model));
  const checkpoint = loadCheckpoint(init);
  checkSameStructure(resolveConfig(checkpoint.config as TransformerConfig), resolveConfig(model));
  return checkpoint.model;
}

function checkSameStructure({ ffn: own }: ResolvedConfig, { ffn }: ResolvedConfig): void {
  const among = 'as init has it (convertInit converts its layers)';
  if (ffn.structure !== own.structure)
    throw new OptionError('train: model.ffn.structure', `${own.structure}, ${among}`, ffn.structure);
  if (ffn.ratio !== undefined && own.ratio !== undefined && ffn.ratio !== own.ratio)
    throw new OptionError('train: model.ffn.ratio', `${own.ratio}, ${among}`, ffn.ratio);
}

/** Every feedforward layer becomes the nearest one of the structure that it has in `config`. */
function convertedWeights(path: string, config: ResolvedConfig): Weights {
  const { model: source } = loadModel(path);
  for (const name of ['nLayers', 'dModel', 'dFF', 'activation'] as const)
    if (source.config[name] !== config[name])
      throw new OptionError(`train: model.${name}`, `${source.config[name]}, as init has it`, config[name]);
  // For their shapes.
  const [dense, structured] = [networkOf(config, { structure: 'dense' }), networkOf(config, config.ffn)];
  const weights: Weights = new Map();
  noGrad(() =>
    tidy(() => {
      for (const [name, parameter] of source.namedParameters())
        if (!OF_STRUCTURE.test(name)) weights.set(name, copyOf(parameter));
      for (const [i, { ffn }] of source.blocks.entries())
        for (const [j, name] of LAYERS.entries()) {
          const to = (i === 0 && config.firstFfnDense ? dense : structured).layers[j]!;
          for (const [part, values] of convert(ffn[name], to)) weights.set(`blocks.${i}.ffn.${name}.${part}`, values);
        }
    }),
  );
  for (const module of [source, dense, structured]) module.dispose();
  return weights;
}

/** A network of a structure, without values. */
function networkOf({ dModel, dFF, activation }: ResolvedConfig, ffn: FfnStructure): FeedForward {
  return new FeedForward({ dModel, dFF, activation, bias: false, ...ffn, ...UNSET });
}

const copyOf = (t: Tensor): TensorData => ({ shape: t.shape, data: t.toArray() });

const isSame = (a: Shape | undefined, b: Shape | undefined): boolean => String(a) === String(b);

/** The matrices of `from` in the structure of `to`: themselves where it is the same, else the nearest. */
function convert(from: LinearLayer | SelfGuided, to: LinearLayer): [string, TensorData][] {
  if (
    !('guide' in from) &&
    from.structure === to.structure &&
    from.innerActivation === to.innerActivation &&
    isSame(from.v?.shape, to.v?.shape) &&
    isSame(from.u.shape, to.u.shape)
  )
    return from.v === null
      ? [['weight', copyOf(from.u)]]
      : [
          ['v', copyOf(from.v)],
          ['u', copyOf(from.u)],
        ];
  const merged = from.merge();
  if (to.v === null) return [['weight', copyOf(merged)]];
  checkMergeable('train: model.ffn', to.innerActivation);
  const { v, u } = nearestFactors(merged.toArray() as Float32Array, to.v.shape, to.u.shape);
  return [
    ['v', { shape: to.v.shape, data: v }],
    ['u', { shape: to.u.shape, data: u }],
  ];
}
