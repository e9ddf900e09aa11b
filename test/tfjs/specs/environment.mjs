// One backend, and our kernels on it where they are asked for, before the specs are defined.

import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops';
import '@tensorflow/tfjs-core/dist/register_all_gradients';
import '@tensorflow/tfjs-backend-cpu';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { setTestEnvs } from '@tensorflow/tfjs-core/dist/jasmine_util';

const { SPECS_BACKEND, SPECS_WASM, SPECS_INSTALL } = process.env;
setWasmPaths(SPECS_WASM);
setTestEnvs([{ name: SPECS_BACKEND, backendName: SPECS_BACKEND, isDataSync: true }]);
if (SPECS_INSTALL) require(SPECS_INSTALL).install(tf);
