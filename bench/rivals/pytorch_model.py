"""The transformer of the training benchmark in PyTorch: same parameters, same names, same arithmetic."""

import torch
import torch.nn.functional as F

from pytorch_layers import layer


def memory(field):
    """Kilobytes of this process, from the kernel's own account."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field + ":"))


def reset_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


class Model:
    def __init__(self, spec, read, way):
        self.forward = way.run(self.loss)
        self.heads, self.blocks, self.base = spec["nHeads"], spec["nLayers"], 10000.0
        self.before = memory("VmRSS")
        reset_peak()
        self.p = {name: read(value).requires_grad_() for name, value in spec["parameters"].items()}
        self.ids, self.targets = read(spec["ids"]).long(), read(spec["targets"]).long()
        self.optimizer = torch.optim.AdamW(
            self.p.values(), lr=spec["lr"], betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1
        )

    def linear(self, name, x):
        get = self.p.get
        v, u = get(name + ".v"), get(name + ".u")
        y = layer(x.reshape(-1, x.shape[-1]), v, get(name + ".weight") if u is None else u, get(name + ".bias"))
        return y.view(*x.shape[:-1], -1)

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.p[name + ".weight"], self.p[name + ".bias"])

    def rotate(self, x):
        half = x.shape[-1] // 2
        angles = torch.outer(torch.arange(x.shape[-2]), self.base ** (-torch.arange(half) / half))
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def attention(self, name, x):
        batch, seq, width = x.shape
        qkv = self.linear(name + ".qkv", x).view(batch, seq, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = self.rotate(qkv[0]), self.rotate(qkv[1]), qkv[2]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.linear(name + ".out", y.transpose(1, 2).reshape(batch, seq, width))

    def loss(self):
        x = self.p["embedding.weight"][self.ids]
        for i in range(self.blocks):
            block = f"blocks.{i}."
            x = x + self.attention(block + "attention", self.norm(block + "norm1", x))
            hidden = F.gelu(self.linear(block + "ffn.fc1", self.norm(block + "norm2", x)), approximate="tanh")
            x = x + self.linear(block + "ffn.fc2", hidden)
        logits = self.norm("norm", x) @ self.p["embedding.weight"].T
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), self.targets.view(-1))

    def call(self):
        loss = self.forward()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.p.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return [loss.detach()]

    def peak_bytes(self):
        return 1024 * (memory("VmHWM") - self.before)
