/** The entry: native kernels for the user's own tfjs. */
import { checkFunction, checkPath, OptionError } from '../errors';
import type { GuidanceOptions } from '../nn';
import { fileIO } from './file_io';
import { registerGradients } from './gradients';
import { registerGraphOps } from './graph_ops';
import { type GuidanceCallback, guidanceCallback, releaseGuides } from './guides';
import { registerKernels } from './kernels';
import { TfLayers } from './layers/tf_layers';
import { mergeModel } from './merge_model';
import { TfOps } from './ops';
import { type GraphOptions, type StructuredGraph, structureGraph } from './structure_graph';
import { type StructuredModel, type StructureOptions, structureModel } from './structure_model';
import { checkModel, type io, type LayersModel, type Tfjs } from './tfjs';

/** What `install` returns: ops, layers and tools that work with one tfjs. */
export class StructuredTfjs extends TfOps {
  readonly #tf: Tfjs;
  readonly #layers: TfLayers | null;

  constructor(tf: Tfjs) {
    super(tf);
    this.#tf = tf;
    this.#layers = 'layers' in tf ? new TfLayers(tf, this) : null;
    if ('registerOp' in tf) registerGraphOps(tf, this);
  }

  /** @throws {OptionError} when `tf` is the core alone. */
  get layers(): TfLayers {
    if (this.#layers === null)
      throw new OptionError('install', 'a tfjs with layers, such as @tensorflow/tfjs', 'the core');
    return this.#layers;
  }

  /**
   * A callback for `model.fit` that anneals the guides of selfGuided layers away and then releases them. It may stand beside
   * other callbacks, plain ones and tfjs's own, in any order.
   */
  guide(model: LayersModel, options: GuidanceOptions): GuidanceCallback {
    return guidanceCallback(this.#tf, model, options);
  }

  /** Frees all guides of a model now. */
  releaseGuides(model: LayersModel): void {
    checkModel('releaseGuides', model);
    releaseGuides(model);
  }

  /** A copy of a trained model whose dense layers are structured ones, as near to them as can be; see StructureOptions. */
  structureModel(model: LayersModel, options: StructureOptions): Promise<StructuredModel> {
    return structureModel(this.#tf, model, options);
  }

  /** A graph model, read from `source`, whose products with constant matrices are our ops; see GraphOptions. */
  structureGraph(source: io.IOHandler, options: GraphOptions): Promise<StructuredGraph> {
    return structureGraph(this.#tf, source, options);
  }

  /** A copy of a model that computes the same with tfjs's own layers alone, for browsers and other places without native code. */
  mergeModel(model: LayersModel): Promise<LayersModel> {
    return mergeModel(this.#tf, model);
  }

  /** Where models are saved to and loaded from: a folder. */
  fileIO(folder: string): io.IOHandler {
    checkPath('fileIO: folder', folder);
    return fileIO(this.#tf, folder);
  }
}

/**
 * Registers the kernels and their gradients on the backends cpu, wasm and tensorflow of `tf`, and the layers and ops
 * with its loaders. May be called again, before or after `tf.setBackend`.
 */
export function install(tf: Tfjs): StructuredTfjs {
  checkFunction('install: tf.getKernel', (tf as Tfjs | null | undefined)?.getKernel);
  registerKernels(tf);
  registerGradients(tf);
  return new StructuredTfjs(tf);
}
