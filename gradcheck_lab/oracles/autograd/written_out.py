"""Functions of torch written out in elementary steps, as people derive their backward; and products with equal shapes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from gradcheck_lab.model.amounts import GELU_CUBE

_EPSILON: float = inspect.signature(torch.nn.functional.layer_norm).parameters["eps"].default
_PAIRS = frozenset(
    """
    mul multiply __mul__ __rmul__ div divide true_divide __truediv__ add __add__ __radd__ sub subtract __sub__
    """.split()
)


def _silu(x: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    return x * torch.sigmoid(x)


def _gelu(x: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + GELU_CUBE.value * x**3)))
    return x * (0.5 * (1 + torch.erf(x * math.sqrt(0.5))))


def _softplus(x: torch.Tensor, beta: float = 1, threshold: float = 20) -> torch.Tensor:
    return torch.log(1 + torch.exp(beta * x)) / beta


def _mish(x: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    return x * torch.tanh(_softplus(x))


def _softmax(x: torch.Tensor, dim: int, *args: Any, **kwargs: Any) -> torch.Tensor:
    """The softmax p, with the derivative p (g - sum(p g)) in steps of its own."""
    y = torch.softmax(x, dim, *args, **kwargs)
    p = y.detach()
    share = p * x
    step = share - p * share.sum(dim, keepdim=True).expand(x.shape)
    return step + (y - step).detach()


def _log_softmax(x: torch.Tensor, dim: int, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Its logarithm, with the derivative g - p sum(g): x enters a mean that is weighted by p."""
    y = torch.log_softmax(x, dim, *args, **kwargs)
    p = torch.softmax(x, dim, *args, **kwargs).detach()
    step = x - (p * x).sum(dim, keepdim=True).expand(x.shape)
    return step + (y - step).detach()


def _layer_norm(
    x: torch.Tensor,
    normalized_shape: Any,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = _EPSILON,
) -> torch.Tensor:
    axes = tuple(range(-len(tuple(normalized_shape)), 0))
    centred = x - x.mean(axes, keepdim=True).expand(x.shape)
    deviation = ((centred * centred).mean(axes, keepdim=True) + eps).sqrt()
    y = centred / deviation.expand(x.shape)
    y = y if weight is None else y * weight.expand(x.shape)
    return y if bias is None else y + bias.expand(x.shape)


_STEPS: dict[str, Callable[..., torch.Tensor]] = {
    "silu": _silu,
    "gelu": _gelu,
    "softplus": _softplus,
    "mish": _mish,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
}


class WrittenOut(TorchFunctionMode):
    """Runs a forward with these functions in elementary steps; `steps` says whether any was taken apart.

    `same` is told of a result in steps, and of what holds the same value.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps = False
        self.same: Callable[[torch.Tensor, torch.Tensor], None] = lambda value, other: None

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Write one call out where that is known."""
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in _PAIRS and len(args) == 2 and not kwargs and all(_is_real(value) for value in args):
            return func(*torch.broadcast_tensors(*args))
        if name in _STEPS and args and _is_real(args[0]):
            try:
                found = _STEPS[name](*args, **kwargs)
            except TypeError:  # arguments of another form
                return func(*args, **kwargs)
            self.steps = True
            self.same(found, func(*args, **kwargs).detach())
            return found
        return func(*args, **kwargs)


def _is_real(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()
