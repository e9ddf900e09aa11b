/** From the options of `train` to a model: that of a preset, or that of the checkpoint of --init. */
import {
  type BlockCounts,
  type FfnStructure,
  PRESET_NAMES,
  type PresetName,
  presetConfig,
  type ResolvedConfig,
  resolveConfig,
  type Structure,
  type TransformerConfig,
} from '../nn';
import type { Activation, InnerActivation } from '../ops';
import type { GuidanceConfig } from '../train';
import { UsageError } from './failure';
import { optionOf } from './option_names';

/** As commander gives them. */
export interface ModelOptions {
  /** Default: mini, or the model of --init. */
  readonly preset?: string;
  /** Default: lowrank, or that of --init. */
  readonly structure?: Structure;
  readonly ratio?: number;
  readonly rank?: number;
  readonly nblocks?: BlockCounts;
  readonly activation?: Activation;
  readonly innerActivation?: InnerActivation;
  readonly dModel?: number;
  readonly layers?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly headSize?: number;
  readonly dFf?: number;
  readonly norm?: 'layer' | 'rms';
  readonly normEps?: number;
  /** False with --no-bias. */
  readonly bias: boolean;
  readonly ropeBase?: number;
  readonly untied?: boolean;
  readonly seqLen?: number;
  readonly vocabSize?: number;
  readonly allStructured?: boolean;
  readonly init?: string;
  readonly guidance?: 'fixed-step' | 'fixed-flop' | 'none';
  readonly guidedPart?: number;
  readonly guidanceForm?: GuidanceConfig['form'];
  readonly alphaSchedule?: GuidanceConfig['schedule'];
}

const defined = <T extends object>(values: T): Partial<T> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;

/** What the options say of the config, without the structure. */
const givenValues = (options: ModelOptions): Partial<TransformerConfig> =>
  defined({
    dModel: options.dModel,
    nLayers: options.layers,
    nHeads: options.heads,
    nKvHeads: options.kvHeads,
    headSize: options.headSize,
    dFF: options.dFf,
    norm: options.norm,
    normEps: options.normEps,
    bias: options.bias ? undefined : false,
    ropeBase: options.ropeBase,
    tieEmbeddings: options.untied ? false : undefined,
    seqLen: options.seqLen,
    activation: options.activation,
  });

function checkPreset(name: string): PresetName {
  if (!PRESET_NAMES.includes(name as PresetName))
    throw new UsageError(`--preset ${name}: expected one of ${PRESET_NAMES.join(', ')}`);
  return name as PresetName;
}

/** The model without --init; its vocabulary comes from the data. @throws {UsageError} for options that do not go together. */
export function presetModel(options: ModelOptions): TransformerConfig {
  return presetConfig(checkPreset(options.preset ?? 'mini'), {
    ...givenValues(options),
    ffn: ffnStructure(options, options.structure ?? 'lowrank'),
    firstFfnDense: !options.allStructured,
  });
}

const sizesOf = ({ rank, ratio, nblocks }: ModelOptions) => defined({ rank, ratio, nblocks });

/** The options that convert the layers of --init, in the order in which errors name them. */
const CONVERTING: Readonly<Record<string, string>> = {
  structure: '--structure',
  rank: '--rank',
  ratio: '--ratio',
  nblocks: '--nblocks',
  allStructured: '--all-structured',
};

const DENSE_LACKS: Readonly<Record<string, string>> = { ...CONVERTING, innerActivation: '--inner-activation' };

function ffnStructure(options: ModelOptions, structure: Structure): FfnStructure {
  const [sizes, inner] = [sizesOf(options), defined({ innerActivation: options.innerActivation })];
  const chosen = Object.keys(sizes).length > 0 ? sizes : { ratio: 0.32 };
  if (structure !== 'dense') return { structure, ...chosen, ...inner };
  const [first] = Object.keys({ ...sizes, ...inner, ...(options.allStructured && { allStructured: true }) });
  if (first !== undefined) throw new UsageError(`${DENSE_LACKS[first]}: dense layers have no factors`);
  return { structure };
}

/** The model of --init, and `convertInit` where its feedforward layers are to be converted. */
export interface InitModel {
  readonly model: TransformerConfig;
  readonly convertInit: true | undefined;
}

/**
 * The model of a checkpoint, its feedforward layers in the structure that is asked for. The length of rows is no part of it.
 * @throws {UsageError} for an option that contradicts the checkpoint.
 */
export function initModel(options: ModelOptions, config: TransformerConfig): InitModel {
  const own = resolveConfig(config);
  const { seqLen: _, ...given } = { ...givenValues(options), ...defined({ vocabSize: options.vocabSize }) };
  checkSame(own, given, (name, value) => `${optionOf(name)}${typeof value === 'boolean' ? '' : ` ${value}`}`);
  if (options.preset !== undefined) {
    const { dModel, nLayers, nHeads } = presetConfig(checkPreset(options.preset));
    checkSame(own, { dModel, nLayers, nHeads, ...given }, () => `--preset ${options.preset}`);
  }
  const { structure = own.ffn.structure } = options;
  const { innerActivation: inner = 'none' } = own.ffn;
  if ((options.innerActivation ?? inner) !== inner)
    throw new UsageError(
      `--inner-activation ${options.innerActivation}: the model of --init has ${inner} between its factors`,
    );
  const keeps = structure === own.ffn.structure && Object.keys(sizesOf(options)).length === 0;
  // Called for its checks too.
  const asked = ffnStructure(options, structure);
  const firstFfnDense = own.firstFfnDense && !options.allStructured;
  const converts = !keeps || firstFfnDense !== own.firstFfnDense;
  if (converts && inner !== 'none') {
    const [option] = Object.keys({
      ...defined({ structure: options.structure }),
      ...sizesOf(options),
      allStructured: true,
    });
    throw new UsageError(
      `${CONVERTING[option!]}: layers with an activation between their factors are no matrices, so they are not ` +
        `converted, and the model of --init has ${inner} there; leave out ${Object.values(CONVERTING).join(', ')}`,
    );
  }
  return { model: { ...config, ffn: keeps ? own.ffn : asked, firstFfnDense }, convertInit: converts || undefined };
}

function checkSame(
  own: ResolvedConfig,
  given: Partial<TransformerConfig>,
  option: (name: keyof TransformerConfig, value: unknown) => string,
): void {
  for (const name of Object.keys(given) as (keyof TransformerConfig)[])
    if (own[name] !== given[name])
      throw new UsageError(
        `${option(name, given[name])}: the model of --init has ${name} ${own[name]}, not ${given[name]}`,
      );
}

/**
 * Weights from a checkpoint are trained already: unless asked for, they get no guide.
 * @throws {UsageError} for a guide that would have nothing to do.
 */
export function guidanceConfig(options: ModelOptions, model: TransformerConfig): GuidanceConfig | undefined {
  const { guidance, init, guidedPart: part, guidanceForm: form, alphaSchedule: schedule } = options;
  const dense = model.ffn === undefined || model.ffn.structure === 'dense';
  if (dense && guidance !== undefined && guidance !== 'none')
    throw new UsageError(`--guidance ${guidance}: dense layers need no guide`);
  const protocol = dense ? 'none' : (guidance ?? (init === undefined ? 'fixed-step' : 'none'));
  if (protocol !== 'none') return { protocol, part, form, schedule };
  const flags = { '--guided-part': part, '--guidance-form': form, '--alpha-schedule': schedule };
  const [first] = Object.entries(defined(flags));
  if (first) throw new UsageError(`${first[0]} ${first[1]}: there is no guide in this run`);
  return undefined;
}
