export { type Checkpoint, loadCheckpoint, saveCheckpoint } from './checkpoint';
export { loadSafetensors, type SafetensorsFile, saveSafetensors, type TensorData } from './safetensors';
