"""What a forward does inside: whether it casts, computes in 16 bits or draws random numbers, and the same without its casts."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.precision import is_narrow, unit_roundoff, widened
from gradcheck_lab.torch_internals import DispatchMode


class Lifting(DispatchMode):
    """Leaves out casts to narrower dtypes; `roundoff` is that of the narrowest one which it left out, 0 for none."""

    def __init__(self) -> None:
        super().__init__()
        self.roundoff = 0.0

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        dtype = kwargs.get("dtype")
        if func.overloadpacket.__name__ == "_to_copy" and isinstance(dtype, torch.dtype) and is_differentiable(args[0]):
            own = args[0].dtype.to_real()
            if (dtype.is_floating_point or dtype.is_complex) and unit_roundoff(dtype) > unit_roundoff(own):
                self.roundoff = max(self.roundoff, unit_roundoff(dtype))
                kwargs = {**kwargs, "dtype": own.to_complex() if dtype.is_complex else own}
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
