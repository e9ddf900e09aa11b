"""
Stage e, the rival: training steps with torch.compile (one compilation for all blocks, one for the head), SDPA and fused AdamW.
Parameters and gradients are bfloat16, AdamW works on float32 originals of them, as ours does. --warm-up only compiles, with two
blocks, so that the compilers' cache on disk is filled.
"""

import time

import torch

from common import Script
from model import Model, loss_of

SIDE = "PyTorch torch.compile, float32 originals"
MAX_GRAD_NORM = 1.0

script = Script("--warm-up")
warm_up = script.options.warm_up
full = script.options.size == "full"
WARM_UP, MOST_STEPS, FEWEST_STEPS = (3, 8, 3) if full else (1, 2, 1)


class Optimizer:
    """AdamW on float32 originals; the parameters are rounded copies of them. For float32 parameters they are their own."""

    def __init__(self, parameters):
        self.parameters = list(parameters)
        self.originals = [p.detach().float().requires_grad_() for p in self.parameters]
        self.copies = any(o.data_ptr() != p.data_ptr() for o, p in zip(self.originals, self.parameters))
        for original in self.originals:
            original.grad = torch.zeros_like(original)
        self.adamw = torch.optim.AdamW(self.originals, lr=1e-4, weight_decay=0.1, fused=script.cuda)

    @torch.no_grad()
    def step(self):
        # Clipping reads the bfloat16 gradients: half of the traffic.
        torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM, foreach=script.cuda or None)
        torch._foreach_copy_([o.grad for o in self.originals], [p.grad for p in self.parameters])
        self.adamw.step()
        if self.copies:
            torch._foreach_copy_(self.parameters, self.originals)
        for p in self.parameters:
            p.grad = None


def measure(job):
    begin = time.perf_counter()
    dtype = torch.bfloat16 if script.cuda else torch.float32
    model = Model(job, layers=2 if warm_up else None, device=script.device, dtype=dtype)
    # Shapes of the previous model must not count as variable here.
    torch.compiler.reset()
    for block in model.blocks:
        block.compile(dynamic=False)
    loss_compiled = torch.compile(loss_of, dynamic=False)
    optimizer = Optimizer(model.parameters())
    batch, seq, vocabulary = job["batch"], job["seqLen"], job["vocabSize"]
    tokens = batch * seq
    ids = ((torch.arange(tokens, device=script.device) * 2654435761) % vocabulary).view(batch, seq)

    def step():
        loss = loss_compiled(model.hidden(ids), model.embedding, ids)
        loss.backward()
        optimizer.step()
        return loss

    if warm_up:
        step()
        script.settle()
        script.free()
        return
    losses = [step().item() for _ in range(WARM_UP)]
    script.settle()
    setup = time.perf_counter() - begin
    times = []
    while len(times) < FEWEST_STEPS or (len(times) < MOST_STEPS and not script.time_is_up()):
        start = time.perf_counter()
        losses.append(step().item())
        times.append(time.perf_counter() - start)
    seconds = sorted(times)[len(times) // 2]
    script.emit(
        "training",
        side=SIDE,
        job=job["name"],
        tokens=tokens,
        milliseconds=round(seconds * 1e3, 3),
        tokensPerSecond=round(tokens / seconds),
        peakGigabytes=round(torch.cuda.max_memory_allocated() / 1e9, 2) if script.cuda else None,
        setupSeconds=round(setup, 1),
        losses=[round(loss, 4) for loss in losses],
    )
    del model, optimizer, loss_compiled
    script.free()


script.each(SIDE, script.problems("training"), measure)
