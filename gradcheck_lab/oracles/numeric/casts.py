"""What a forward does inside: whether it computes in 16 bits or draws random numbers, and the same without its casts."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.precision import is_narrow, unit_roundoff, widened
from gradcheck_lab.torch_internals import DispatchMode


class Lifting(DispatchMode):
    """Leaves out casts to 16 bits."""

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        narrow = isinstance(kwargs.get("dtype"), torch.dtype) and is_narrow(kwargs["dtype"].to_real())
        if narrow and func.overloadpacket.__name__ == "_to_copy" and is_differentiable(args[0]):
            own, whole = args[0].dtype, kwargs["dtype"].is_complex
            kwargs = {**kwargs, "dtype": own.to_complex() if whole else own.to_real()}
        return func(*args, **kwargs)


def same_up_to(a: Any, b: Any, relative: float) -> bool:
    """Whether two outputs agree up to a relative error; what has no gradient only has to be of one type."""
    if not is_differentiable(a) or not is_differentiable(b):
        return type(a) is type(b)
    if a.shape != b.shape:
        return False
    a, b = widened(a), widened(b)
    size = float(torch.nan_to_num(b.abs(), 0.0, 0.0, 0.0).max()) if b.numel() else 0.0
    return torch.allclose(a, b, rtol=relative, atol=relative * size, equal_nan=True)


class Watch(DispatchMode):
    """Sees whether a forward draws random numbers, and whether it computes in 16 bits inside; there constants of one element do
    not count, unless the inputs have no more elements.
    """

    def __init__(self, single: bool) -> None:
        super().__init__()
        self.least, self.roundoff, self.draws = 1 if single else 2, 0.0, False

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        self.draws |= torch.Tag.nondeterministic_seeded in func.tags
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, torch.Tensor) and is_narrow(value.dtype) and value.numel() >= self.least:
                self.roundoff = max(self.roundoff, unit_roundoff(value.dtype))
        return result
