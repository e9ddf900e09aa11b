"""Options, rows and clocks of the rivals' scripts; gpu/support has the same for ours."""

import argparse
import json
import math
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "rivals"))

RUN_SECONDS = 0.04


class Script:
    def __init__(self, *flags):
        parser = argparse.ArgumentParser()
        parser.add_argument("--stage", default="d")
        parser.add_argument("--command", default="")
        parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
        parser.add_argument("--size", choices=["full", "small", "tiny"], default="full")
        parser.add_argument("--results")
        parser.add_argument("--seconds", type=float, default=60)
        parser.add_argument("--problems")
        for flag in flags:
            parser.add_argument(flag, action="store_true")
        self.options = parser.parse_args()
        self.device = self.options.device
        self.cuda = self.device == "cuda"
        self.end = time.perf_counter() + self.options.seconds

    def problems(self, name):
        with open(self.options.problems) as file:
            return json.load(file)[name]

    def time_is_up(self):
        return time.perf_counter() > self.end

    def emit(self, kind, **values):
        row = {"stage": self.options.stage, "command": self.options.command, "kind": kind, **values}
        line = json.dumps(row) + "\n"
        if self.options.results is None:
            sys.stdout.write(line)
            return
        with open(self.options.results, "a") as file:
            file.write(line)

    def fail(self, side, at, error):
        print(f"{at}: {error!r}", flush=True)
        self.emit("failure", side=side, at=at, message=f"{type(error).__name__}: {error}"[:500])

    def settle(self):
        if self.cuda:
            import torch

            torch.cuda.synchronize()

    def each(self, side, items, measure):
        """Calls measure(item) for each item while there is time; what fails does not stop the rest."""
        done = 0
        for item in items:
            if self.time_is_up():
                break
            try:
                measure(item)
                done += 1
            except Exception as error:  # noqa: BLE001
                self.fail(side, item["name"], error)
                self.free()
        self.emit("coverage", side=side, done=done, of=len(items))

    def free(self):
        if self.cuda:
            import torch

            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def seconds_of(self, call):
        """Of one call when many follow each other: the middle one of three runs, as gpu/support/timing.ts."""

        def run(calls):
            self.settle()
            begin = time.perf_counter()
            for _ in range(calls):
                call()
            self.settle()
            return (time.perf_counter() - begin) / calls

        run(2)
        calls = min(2000, max(3, math.ceil(RUN_SECONDS / max(1e-5, run(1)))))
        return sorted(run(calls) for _ in range(3))[1]


def captured(call):
    """A CUDA graph of what `call` enqueues, and what it returned while it was recorded."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()
    return graph, result
