"""Stage f, the rival: the same decoding step with bfloat16 weights and cache and SDPA, replayed as one CUDA graph."""

import time

import torch
import torch.nn.functional as F

from common import Script, captured
from model import Model, rotate

GRAPH = "PyTorch CUDA graph"
EAGER = "PyTorch eager"

script = Script()
STEPS = 50 if script.options.size == "full" else 3
DTYPE = torch.bfloat16 if script.cuda else torch.float32
NAME = "bfloat16" if script.cuda else "float32"


class Step:
    """One new token for each of `batch` sequences of `context` tokens."""

    def __init__(self, model, job, batch):
        self.model, self.batch, self.context = model, batch, job["context"]
        heads = job["nHeads"]
        kept = (job["nLayers"], 2, batch, heads, self.context + 1, job["dModel"] // heads)
        self.cache = torch.randn(kept, device=script.device, dtype=DTYPE)
        self.ids = torch.full((batch, 1), 5, device=script.device)

    def __call__(self):
        model, context = self.model, self.context
        cos, sin = model.cos[context : context + 1], model.sin[context : context + 1]
        x = F.embedding(self.ids, model.embedding)
        for block, cache in zip(model.blocks, self.cache):
            q, k, v = block.heads_of(x)
            cache[0, :, :, context] = rotate(k, cos, sin)[:, :, 0]
            cache[1, :, :, context] = v[:, :, 0]
            x = block.rest(x, F.scaled_dot_product_attention(rotate(q, cos, sin), cache[0], cache[1]))
        return (model.norm(x) @ model.embedding.T).float()


def measure_batch(model, job, batch):
    eager = Step(model, job, batch)
    for _ in range(3):
        eager()
    side, run = EAGER, eager
    if script.cuda:
        graph, logits = captured(eager)

        def replay():
            graph.replay()
            return logits

        side, run = GRAPH, replay

    # Ours returns the logits too.
    for _ in range(3):
        run().cpu()
    times = []
    for _ in range(STEPS):
        script.settle()
        start = time.perf_counter()
        run().cpu()
        times.append(time.perf_counter() - start)
    seconds = sorted(times)[len(times) // 2]
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    script.emit(
        "decoding",
        side=side,
        job=job["name"],
        dtype=NAME,
        batch=batch,
        context=job["context"],
        milliseconds=round(seconds * 1e3, 3),
        tokensPerSecond=round(batch / seconds),
        weightGigabytes=round(weights / 1e9, 4),
    )


@torch.no_grad()
def measure(job):
    model = Model(job, device=script.device, dtype=DTYPE)
    for batch in job["batches"]:
        try:
            measure_batch(model, job, batch)
        except Exception as error:  # noqa: BLE001
            script.fail(GRAPH, f"{job['name']}, batch {batch}", error)
            script.settle()
    del model
    script.free()


script.each(GRAPH if script.cuda else EAGER, script.problems("decoding"), measure)
