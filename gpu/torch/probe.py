"""Stage a: which PyTorch the rivals are of."""

import torch

from common import Script

script = Script()
script.emit("fact", name="PyTorch", value=torch.__version__)
script.emit("fact", name="CUDA of PyTorch", value=torch.version.cuda or "none")
if script.cuda:
    script.emit("fact", name="device of PyTorch", value=torch.cuda.get_device_name())
