"""Stage d, the rival: the problems of gpu/problems.ts in eager PyTorch (cuBLAS, SDPA), and the same calls from a CUDA graph."""

import math

import torch
import torch.nn.functional as F

from common import Script, captured
from pytorch_layers import structured

EAGER = "PyTorch eager"
GRAPH = "PyTorch CUDA graph"
SHORT_SECONDS = 2e-4

script = Script()


def drawn(shape, std, grad):
    dtype = torch.bfloat16 if script.cuda else torch.float32
    return (torch.randn(shape, device=script.device, dtype=torch.float32) * std).to(dtype).requires_grad_(grad)


def attention(x, heads):
    batch, seq, features = x.shape
    q, k, v = x.view(batch, seq, 3, heads, features // 3 // heads).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return y.transpose(1, 2).reshape(batch, seq, features // 3)


def prepare(problem):
    """Calls of the problem with each copy of the weights."""
    grad = problem["phase"] != "forward"
    tokens, width, batch = problem["tokens"], problem["width"], problem["batch"]
    is_attention = problem["op"] == "attention"
    shape = [batch, tokens // batch, 3 * width] if is_attention else [tokens, width]
    x = drawn(shape, 1, grad)
    weight = lambda s: None if s is None else drawn(s, 1 / math.sqrt(s[-1]), grad)
    copies = [
        [(weight(layer["v"]), weight(layer["u"])) for layer in problem["layers"]] for _ in range(problem["copies"])
    ]

    def apply(layers):
        if is_attention:
            return attention(x, problem["heads"])
        y = structured(x, *layers[0])
        return y if len(layers) == 1 else structured(F.gelu(y, approximate="tanh"), *layers[1])

    with torch.no_grad():
        dy = torch.randn_like(apply(copies[0]))

    def call(i):
        with torch.set_grad_enabled(grad):
            y = apply(copies[i])
            if not grad:
                return y
            leaves = [x, *(t for layer in copies[i] for t in layer if t is not None)]
            return torch.autograd.grad(y, leaves, dy)

    return call


def measure(problem):
    call = prepare(problem)
    copies = problem["copies"]
    turn = 0

    def next_call():
        nonlocal turn
        turn += 1
        call(turn % copies)

    def emit(side, seconds):
        tflops = problem["flops"] / seconds / 1e12
        script.emit(
            "kernel", side=side, problem=problem["name"], microseconds=round(seconds * 1e6, 2), tflops=round(tflops, 3)
        )

    eager = script.seconds_of(next_call)
    emit(EAGER, eager)
    if not script.cuda:
        return
    try:
        # Short calls are repeated in one graph, so that the launch of the graph is not what is measured.
        calls = max(copies, 4 if eager < SHORT_SECONDS else 1)
        graph, _ = captured(lambda: [call(i % copies) for i in range(calls)])
        emit(GRAPH, script.seconds_of(graph.replay) / calls)
    except Exception as error:  # noqa: BLE001
        script.fail(GRAPH, problem["name"], error)
        script.settle()


script.each(EAGER, script.problems("kernels"), measure)
