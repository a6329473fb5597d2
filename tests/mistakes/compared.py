"""Finished gradients, as `gl.compare` takes them: of a softmax, by a mistaken rule or by a sound one of other roundings."""

from collections.abc import Callable

import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import normal


def _softmax(dtype: torch.dtype, factor: int) -> gl.Report:
    x, g = normal(6, 8, dtype=dtype), normal(6, 8, seed=1, dtype=dtype)
    y = torch.softmax(x, -1)
    expanded: Tensor = y * g - y * (y * g).sum(-1, keepdim=True)
    return gl.compare({"x": factor * y * (g - (y * g).sum(-1, keepdim=True))}, {"x": expanded})


# cause, or None where it is sound, by name
COMPARED: dict[str, tuple[str | None, Callable[[], gl.Report]]] = {
    "constant-factor-compared-float32": ("constant-factor", lambda: _softmax(torch.float32, 2)),
    "sound constant-factor-compared-float32": (None, lambda: _softmax(torch.float32, 1)),
    "constant-factor-compared-bfloat16": ("constant-factor", lambda: _softmax(torch.bfloat16, 2)),
    "sound constant-factor-compared-bfloat16": (None, lambda: _softmax(torch.bfloat16, 1)),
}
