export type { FolderOptions } from './folder';
export { type ExportHuggingFaceOptions, exportHuggingFace } from './hugging_face';
export { type ExportOnnxOptions, exportOnnx } from './onnx';
