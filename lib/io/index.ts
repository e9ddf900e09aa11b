export { type Checkpoint, loadCheckpoint, type StoredDType, saveCheckpoint } from './checkpoint';
export {
  loadSafetensors,
  type SafetensorsFile,
  type StoredTensor,
  saveSafetensors,
  type TensorData,
} from './safetensors';
