export { type Checkpoint, loadCheckpoint, type StoredDType, saveCheckpoint } from './checkpoint';
export {
  type LoadSafetensorsOptions,
  loadSafetensors,
  type SafetensorsFile,
  type StoredTensor,
  saveSafetensors,
  type TensorData,
} from './safetensors';
