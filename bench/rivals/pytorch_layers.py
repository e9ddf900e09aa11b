"""The layers as PyTorch users write them: matrix products, bmm and permutes."""

import torch
import torch.nn.functional as F


def structured(x, v, u):
    """x [n, in]; v None, [r, in] or [K, q, p]; u [out, r] or [L, s, r] -> [n, out]."""
    if v is None:
        return x @ u.T
    if v.dim() == 2:
        return (x @ v.T) @ u.T
    blocks, _, width = v.shape
    h = torch.bmm(x.view(-1, blocks, width).transpose(0, 1), v.transpose(1, 2)).transpose(0, 1)
    if u.dim() == 2:
        return h.reshape(x.shape[0], -1) @ u.T
    groups, _, taken = u.shape
    g = h.reshape(-1, taken, groups).permute(2, 0, 1)
    return torch.bmm(g, u.transpose(1, 2)).permute(1, 2, 0).reshape(x.shape[0], -1)


def layer(x, v, u, bias):
    y = structured(x, v, u) if v is not None or bias is None else F.linear(x, u, bias)
    return y if bias is None or v is None else y + bias


class Problem:
    """One linear layer or a feedforward network, with as many copies of the weights as the other side has."""

    def __init__(self, spec, read, way):
        self.forward = way.run(self.apply)
        self.backward = spec["phase"] != "forward"
        self.x = read(spec["x"]).requires_grad_(self.backward)
        self.dy = read(spec["dy"])
        first = [[None if t is None else read(t) for t in weights] for weights in spec["layers"]]
        self.copies = [
            [[None if t is None else t.clone().requires_grad_(self.backward) for t in weights] for weights in first]
            for _ in range(spec["copies"])
        ]
        self.next = 0

    def call(self):
        weights = self.copies[self.next % len(self.copies)]
        self.next += 1
        if not self.backward:
            with torch.no_grad():
                return [self.forward(self.x, weights)]
        y = self.forward(self.x, weights)
        self.dy = self.dy.to(y.dtype)
        leaves = [self.x, *(t for group in weights for t in group if t is not None)]
        return [y.detach(), *torch.autograd.grad(y, leaves, self.dy)]

    def apply(self, x, weights):
        y = layer(x, *weights[0])
        if len(weights) == 1:
            return y
        return layer(F.gelu(y, approximate="tanh"), *weights[1])
