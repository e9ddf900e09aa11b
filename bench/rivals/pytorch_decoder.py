"""A decoding step and a prompt in PyTorch: the transformer of pytorch_model.py with keys and values kept in place."""

import torch
import torch.nn.functional as F

from pytorch_model import Model


class Decoder(Model):
    def __init__(self, spec, read, way):
        self.step = way.run(self.forward)
        self.heads, self.blocks, self.base = spec["nHeads"], spec["nLayers"], 10000.0
        self.p = {name: read(value) for name, value in spec["parameters"].items()}
        self.prompt, self.next = read(spec["prompt"]).long(), read(spec["next"]).long()
        batch, self.context = self.prompt.shape
        width = self.p["embedding.weight"].shape[1]
        shape = (batch, self.heads, self.context + 1, width // self.heads)
        # Under autocast the projections give bfloat16.
        dtype = torch.bfloat16 if way.autocast else way.dtype
        self.keys = [torch.zeros(shape, dtype=dtype) for _ in range(self.blocks)]
        self.values = [torch.zeros(shape, dtype=dtype) for _ in range(self.blocks)]
        self.angles = self.angles_of(self.context + 1, width // self.heads)
        with torch.inference_mode():
            way.eager(self.forward)(self.prompt, 0)

    def angles_of(self, positions, head_size):
        half = head_size // 2
        angles = torch.outer(torch.arange(positions), self.base ** (-torch.arange(half) / half))
        return angles.cos(), angles.sin()

    def turn(self, x, start):
        cos, sin = (table[start : start + x.shape[-2]].to(x.dtype) for table in self.angles)
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def attend(self, i, x, start):
        batch, seq, width = x.shape
        name = f"blocks.{i}.attention"
        q, k, v = self.linear(name + ".qkv", x).view(batch, seq, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        end = start + seq
        self.keys[i][:, :, start:end] = self.turn(k, start)
        self.values[i][:, :, start:end] = v
        keys, values = self.keys[i][:, :, :end], self.values[i][:, :, :end]
        y = F.scaled_dot_product_attention(self.turn(q, start), keys, values, is_causal=start == 0)
        return self.linear(name + ".out", y.transpose(1, 2).reshape(batch, seq, width))

    def forward(self, ids, start):
        x = self.p["embedding.weight"][ids]
        for i in range(self.blocks):
            block = f"blocks.{i}."
            x = x + self.attend(i, self.norm(block + "norm1", x), start)
            hidden = F.gelu(self.linear(block + "ffn.fc1", self.norm(block + "norm2", x)), approximate="tanh")
            x = x + self.linear(block + "ffn.fc2", hidden)
        return self.norm("norm", x[:, -1]) @ self.p["embedding.weight"].T

    def call(self):
        with torch.inference_mode():
            return [self.step(self.next, self.context)]


class Prompt(Decoder):
    def call(self):
        with torch.inference_mode():
            return [self.step(self.prompt, 0)]
