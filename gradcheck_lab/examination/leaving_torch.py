"""Whether code around hand-written rules computes outside torch, where no gradient is followed and none can be meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.subjects.forward_bodies import running_code
from gradcheck_lab.subjects.runner import Runner

_ARRAYS = frozenset("numpy __array__ tolist __dlpack__ cupy __cuda_array_interface__".split())


def leaves_torch(runner: Runner, case: Case) -> bool:
    """Whether the forward makes arrays or lists of its tensors around the rules in it, in one more run of it.

    A `detach` or a number read with `item` stops a gradient, as for a scale; arrays are what something is computed with.
    """
    inputs = tuple(v.detach().requires_grad_() if is_differentiable(v) else v for v in case.inputs)
    watch = _Watch()
    with torch.enable_grad(), watch:
        runner.trace(inputs, case)
    return watch.left


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.left = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.left = self.left or (getattr(func, "__name__", "") in _ARRAYS and running_code() == "around")
        return func(*args, **(kwargs or {}))
