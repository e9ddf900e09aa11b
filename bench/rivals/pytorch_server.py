"""Answers one JSON request per line on standard input with one JSON line. Tensors travel in files of raw values.

{"do": "create", "id", "kind": a name of KINDS, "spec"}, {"do": "outputs", "id", "file"}, {"do": "peak", "id"},
{"do": "sample", "id", "milliseconds"}, {"do": "threads", "count"}, {"do": "drop", "id"}.
"""

import json
import sys
import time

import torch

from pytorch_decoder import Decoder, Prompt
from pytorch_layers import Problem
from pytorch_model import Model
from pytorch_way import Way

DTYPES = {"float32": torch.float32, "int32": torch.int32}
KINDS = {"problem": Problem, "model": Model, "decoder": Decoder, "prompt": Prompt}
things = {}


def read(tensor):
    with open(tensor["file"], "rb") as file:
        values = torch.frombuffer(bytearray(file.read()), dtype=DTYPES[tensor["dtype"]])
    return values.view(tensor["shape"]).clone()


def sample(thing, milliseconds):
    samples, end = [], time.perf_counter() + milliseconds / 1000
    while True:
        start = time.perf_counter()
        thing.call()
        stop = time.perf_counter()
        samples.append((stop - start) * 1000)
        if stop >= end:
            return samples


def answer(request):
    do = request["do"]
    if do == "threads":
        torch.set_num_threads(request["count"])
        return {}
    if do == "create":
        spec = request["spec"]
        way = Way(spec["way"])
        things[request["id"]] = KINDS[request["kind"]](spec, lambda tensor: way.tensor(read(tensor)), way)
        return {}
    if do == "drop":
        del things[request["id"]]
        return {}
    thing = things[request["id"]]
    if do == "sample":
        return {"samples": sample(thing, request["milliseconds"])}
    if do == "peak":
        return {"bytes": thing.peak_bytes()}
    outputs = thing.call()
    with open(request["file"], "wb") as file:
        for output in outputs:
            file.write(output.float().contiguous().numpy().tobytes())
    return {"lengths": [output.numel() for output in outputs]}


print(json.dumps({"version": torch.__version__}), flush=True)
for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:  # the other side decides what it means
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
