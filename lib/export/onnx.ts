/** A model as an ONNX file. */
import { join } from 'node:path';
import { noGrad } from '../autograd';
import { checkChoice } from '../errors';
import { writeAtomically } from '../io/files';
import type { TransformerLM } from '../nn';
import { checkKeys } from '../options';
import { tidy } from '../scope';
import { FOLDER_OPTIONS, type FolderOptions, writeFolder } from './folder';
import { transformerGraph } from './onnx_model';
import { exportedTokenizer, writeTokenizer } from './tokenizer_files';

export interface ExportOnnxOptions extends FolderOptions {
  /** Factors kept, or merged into the dense matrices that they stand for. Default: factored. */
  readonly weights?: 'factored' | 'merged';
  /** Keys and values of earlier tokens as inputs and outputs, for decoding. Default: false. */
  readonly cache?: boolean;
  /** The model's tokenizer.json. Default: that of the byte tokenizer where the vocabulary has its size, else none. */
  readonly tokenizerFile?: string;
  /** Bytes of weights from which on they go to a file of their own. Default: just below the format's limit of 2 GiB. */
  readonly largestModel?: number;
}

const MODEL = 'model.onnx';
const WEIGHTS = 'model.onnx.data';

/**
 * Writes `model.onnx` (opset 20), with `model.onnx.data` where the weights need it, and the tokenizer's files where there is a
 * tokenizer. docs/export.md has inputs and outputs.
 * @throws {OptionError} for factors of a model that still has guides. @throws {FileError | FormatError}
 */
export function exportOnnx(model: TransformerLM, folder: string, options: ExportOnnxOptions = {}): void {
  checkKeys('exportOnnx', options, { ...FOLDER_OPTIONS, weights: 0, cache: 0, tokenizerFile: 0, largestModel: 0 });
  const { weights = 'factored', cache = false, tokenizerFile, largestModel } = options;
  const tokenizer = exportedTokenizer(tokenizerFile, model.config.vocabSize);
  checkChoice('export: weights', weights, ['factored', 'merged']);
  writeFolder(folder, options, (fresh) =>
    noGrad(() =>
      tidy(() => {
        const files = transformerGraph(model, { weights, cache }).files({ weightsFile: WEIGHTS, largestModel });
        writeAtomically(join(fresh, MODEL), files.model);
        if (files.weights) writeAtomically(join(fresh, WEIGHTS), files.weights);
        if (tokenizer) writeTokenizer(fresh, tokenizer, model.config.seqLen);
      }),
    ),
  );
}
