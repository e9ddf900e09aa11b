/** A model as an ONNX file. */
import { join } from 'node:path';
import { noGrad } from '../autograd';
import { checkChoice, checkInstance, checkPath } from '../errors';
import { writeAtomically, writeJson } from '../io/files';
import { TransformerLM } from '../nn';
import { checkKeys } from '../options';
import { tidy } from '../scope';
import { graphConfig } from './architectures';
import { FOLDER_OPTIONS, type FolderOptions, writeFolder } from './folder';
import { transformerGraph } from './onnx_model';
import { exportedTokenizer, writeGenerationConfig, writeTokenizer } from './tokenizer_files';

/** Options of `exportOnnx`. */
export interface ExportOnnxOptions extends FolderOptions {
  /** Whether factors are kept, or merged into the dense matrices that they stand for. Default: factored. */
  readonly weights?: 'factored' | 'merged';
  /** Keys and values of earlier tokens as inputs and outputs, for decoding. Default: true. */
  readonly cache?: boolean;
  /** The model's tokenizer.json. Default: that of the byte tokenizer where the vocabulary has its size, else none. */
  readonly tokenizerFile?: string;
  /** From this many bytes on, weights go to a separate file. Default: just below the format's limit of 2 GiB. */
  readonly largestModel?: number;
}

/** Where transformers.js looks for a graph, which it takes for one with a cache. */
const CACHED = 'onnx';
const MODEL = 'model.onnx';
const WEIGHTS = 'model.onnx_data';

/**
 * Writes `onnx/model.onnx` (opset 20), with `onnx/model.onnx_data` where the weights need it, `config.json`,
 * `generation_config.json`, and the tokenizer's files where there is a tokenizer: transformers.js loads the folder as it is. A
 * graph without a cache is `model.onnx`, without configs. docs/export.md has inputs and outputs.
 * @throws {OptionError} for factors of a model that still has guides. @throws {FormatError} naming a tensor with a value that
 * is not finite. @throws {FileError}
 */
export function exportOnnx(model: TransformerLM, folder: string, options: ExportOnnxOptions = {}): void {
  checkInstance('exportOnnx: model', model, TransformerLM);
  checkPath('exportOnnx: folder', folder);
  checkKeys('exportOnnx', options, { ...FOLDER_OPTIONS, weights: 0, cache: 0, tokenizerFile: 0, largestModel: 0 });
  const { weights = 'factored', cache = true, tokenizerFile, largestModel } = options;
  const { seqLen, vocabSize } = model.config;
  const tokenizer = exportedTokenizer(tokenizerFile, vocabSize);
  checkChoice('export: weights', weights, ['factored', 'merged']);
  writeFolder(folder, options, (fresh) =>
    noGrad(() =>
      tidy(() => {
        const files = transformerGraph(model, { weights, cache }).files({ weightsFile: WEIGHTS, largestModel });
        const place = cache ? join(fresh, CACHED) : fresh;
        writeAtomically(join(place, MODEL), files.model);
        if (files.weights) writeAtomically(join(place, WEIGHTS), files.weights);
        if (tokenizer) writeTokenizer(fresh, tokenizer, seqLen);
        if (cache) writeConfigs(fresh, model, tokenizer?.endOfText?.id ?? null, files.weights !== null);
      }),
    ),
  );
}

/** What clients of a graph with a cache read. */
function writeConfigs(folder: string, model: TransformerLM, endOfText: number | null, external: boolean): void {
  const client = { dtype: 'fp32', ...(external && { use_external_data_format: true }) };
  writeJson(join(folder, 'config.json'), { ...graphConfig(model, endOfText), 'transformers.js_config': client });
  writeGenerationConfig(folder, endOfText);
}
