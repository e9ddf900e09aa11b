"""The ways in which people run PyTorch: eager or compiled; in float32, under autocast, or on tensors of bfloat16."""

import itertools
import types

import torch

numbers = itertools.count()


def compiled(method):
    """As a function of its own: what is compiled of one function is tried in turn at every call, and limited in number."""
    function = method.__func__
    code = function.__code__.replace(co_name=f"{function.__name__}_{next(numbers)}")
    own = types.FunctionType(code, function.__globals__, code.co_name, function.__defaults__, function.__closure__)
    return torch.compile(types.MethodType(own, method.__self__), dynamic=False)


class Way:
    def __init__(self, spec):
        self.compiled, self.autocast = spec["compiled"], spec["autocast"]
        self.dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[spec["tensors"]]

    def tensor(self, values):
        return values.to(self.dtype) if values.is_floating_point() else values

    def eager(self, method):
        if not self.autocast:
            return method

        def cast(*inputs):
            with torch.autocast("cpu", torch.bfloat16):
                return method(*inputs)

        return cast

    def run(self, method):
        return self.eager(compiled(method) if self.compiled else method)
