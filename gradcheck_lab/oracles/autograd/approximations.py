"""Functions that stand for one another: the error function, a hyperbolic tangent of a cubic, and a scaled sigmoid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from gradcheck_lab.model.amounts import GELU_CUBE, GELU_SLOPE

_ROOT = math.sqrt(2 / math.pi)


def _as_tanh(x: torch.Tensor) -> torch.Tensor:
    """2 P(X < x) - 1 of a normal X, by the tangent of gelu's approximation."""
    return torch.tanh(_ROOT * (x + GELU_CUBE.value * x**3))


def _as_sigmoid(x: torch.Tensor) -> torch.Tensor:
    return 2 * torch.sigmoid(GELU_SLOPE.value * x) - 1


def _as_erf(x: torch.Tensor) -> torch.Tensor:
    return torch.erf(x / math.sqrt(2))


def _of_tanh(u: torch.Tensor) -> torch.Tensor:
    """The x whose approximation has tanh(u): the real root of a cubic."""
    root = math.sqrt(3 * GELU_CUBE.value)
    return 2 / root * torch.sinh(torch.asinh(3 * root * u / _ROOT / 2) / 3)


def _of_erf(z: torch.Tensor) -> torch.Tensor:
    return z * math.sqrt(2)


def _of_sigmoid(v: torch.Tensor) -> torch.Tensor:
    return v / GELU_SLOPE.value


Approximation = Callable[[torch.Tensor], torch.Tensor]
_ERF, _TANH, _SIGMOID = "the error function", "a hyperbolic tangent", "a sigmoid"


def approximations(name: str) -> Iterator[tuple[str, str, Approximation]]:
    """What may stand for a function of one argument: words for both, and the other function of the same argument."""
    if name in ("erf", "special_erf"):
        yield _ERF, _TANH, lambda z: _as_tanh(_of_erf(z))
        yield _ERF, _SIGMOID, lambda z: _as_sigmoid(_of_erf(z))
    elif name == "tanh":
        yield _TANH, _ERF, lambda u: _as_erf(_of_tanh(u))
        yield _TANH, _SIGMOID, lambda u: _as_sigmoid(_of_tanh(u))
    elif name in ("sigmoid", "special_expit"):
        yield _SIGMOID, _ERF, lambda v: (1 + _as_erf(_of_sigmoid(v))) / 2
        yield _SIGMOID, _TANH, lambda v: (1 + _as_tanh(_of_sigmoid(v))) / 2
    elif name == "gelu":
        yield "gelu", "x sigmoid(1.702 x)", lambda x: x * torch.sigmoid(GELU_SLOPE.value * x)
