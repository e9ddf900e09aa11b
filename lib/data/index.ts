export { type Baselines, ngramBaselines } from './baselines';
export { type Batch, BatchLoader, type BatchOptions, evaluationBatches, type LoaderState } from './batches';
export { type Document, readDocuments, type Split, splitDocuments, type TokenizedText, writeTokens } from './corpus';
export type { RowOrder } from './row_order';
export { type TokenDType, TokenFile, TokenWriter, tokenDTypeFor } from './token_file';
