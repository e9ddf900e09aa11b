"""The transformer of the training and decoding stages in PyTorch: the parameters and the arithmetic of lib/nn/transformer.ts."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from pytorch_layers import layer

ROTARY_BASE = 10000.0


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Linear(nn.Module):
    def __init__(self, shapes, **kind):
        super().__init__()
        weight = lambda s: nn.Parameter(torch.randn(s, **kind) / math.sqrt(s[-1]))
        self.v = None if shapes["v"] is None else weight(shapes["v"])
        self.u = weight(shapes["u"])
        blocks = shapes["u"][:-1]
        self.bias = nn.Parameter(torch.zeros(math.prod(blocks), **kind))

    def forward(self, x):
        return layer(x.reshape(-1, x.shape[-1]), self.v, self.u, self.bias).view(*x.shape[:-1], -1)


def dense(inputs, outputs):
    return {"v": None, "u": [outputs, inputs]}


class Block(nn.Module):
    def __init__(self, width, heads, fc1, fc2, **kind):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, **kind), nn.LayerNorm(width, **kind)
        self.qkv, self.out = Linear(dense(width, 3 * width), **kind), Linear(dense(width, width), **kind)
        self.fc1, self.fc2 = Linear(fc1, **kind), Linear(fc2, **kind)

    def heads_of(self, x):
        """Queries, keys and values, each [batch, heads, tokens, size]."""
        batch, tokens, _ = x.shape
        return self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)

    def rest(self, x, attended):
        batch, tokens, width = x.shape
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))

    def forward(self, x, cos, sin):
        q, k, v = self.heads_of(x)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        return self.rest(x, y)


class Model(nn.Module):
    def __init__(self, job, layers=None, **kind):
        """`layers` in place of the job's; the first block is dense."""
        super().__init__()
        width, heads = job["dModel"], job["nHeads"]
        count = job["nLayers"] if layers is None else layers
        self.embedding = nn.Parameter(torch.randn(job["vocabSize"], width, **kind) / math.sqrt(width))
        first = (dense(width, 4 * width), dense(4 * width, width))
        shapes = [first] + [(job["fc1"], job["fc2"])] * (count - 1)
        self.blocks = nn.ModuleList(Block(width, heads, *pair, **kind) for pair in shapes)
        self.norm = nn.LayerNorm(width, **kind)
        half = width // heads // 2
        device = kind["device"]
        powers = ROTARY_BASE ** (-torch.arange(half, device=device) / half)
        angles = torch.outer(torch.arange(job["seqLen"], device=device), powers)
        self.cos, self.sin = angles.cos().to(kind["dtype"]), angles.sin().to(kind["dtype"])

    def hidden(self, ids):
        x = F.embedding(ids, self.embedding)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.norm(x)


def loss_of(hidden, embedding, targets):
    logits = (hidden @ embedding.T).float()
    return F.cross_entropy(logits.view(-1, embedding.shape[0]), targets.view(-1))
