export { BpeTokenizer, loadTokenizer } from './bpe';
export { ByteTokenizer, StreamingDecoder, type Tokenizer } from './tokenizer';
export { byteTokenizerJson, type TrainBpeOptions, trainBpe } from './train_bpe';
