"""Finished gradients, as `gl.compare` takes them: of a softmax, by a mistaken rule or by a sound one of other roundings."""

from collections.abc import Callable

import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import normal
from tests.notebooks import softmax_notebook


def _softmax(dtype: torch.dtype, factor: int) -> gl.Report:
    x, g = normal(6, 8, dtype=dtype), normal(6, 8, seed=1, dtype=dtype)
    y = torch.softmax(x, -1)
    expanded: Tensor = y * g - y * (y * g).sum(-1, keepdim=True)
    return gl.compare({"x": factor * y * (g - (y * g).sum(-1, keepdim=True))}, {"x": expanded})


def _notebook(factor: int) -> gl.Report:
    """A notebook whose `b1`, in front of a batch normalisation, has a gradient of rounding alone."""
    return gl.compare(softmax_notebook(0, 3.0, torch.float32, lambda name, value, _: factor * value if name == "W1" else value))


# cause, or None where it is sound, by name
COMPARED: dict[str, tuple[str | None, Callable[[], gl.Report]]] = {
    "constant-factor-compared-float32": ("constant-factor", lambda: _softmax(torch.float32, 2)),
    "sound constant-factor-compared-float32": (None, lambda: _softmax(torch.float32, 1)),
    "constant-factor-compared-notebook": ("constant-factor", lambda: _notebook(2)),
    "sound constant-factor-compared-notebook": (None, lambda: _notebook(1)),
    "constant-factor-compared-bfloat16": ("constant-factor", lambda: _softmax(torch.bfloat16, 2)),
    "sound constant-factor-compared-bfloat16": (None, lambda: _softmax(torch.bfloat16, 1)),
}
