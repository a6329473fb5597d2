"""Mistakes of random forwards, and of modules in the other mode."""

from collections.abc import Callable
from typing import Any

import numpy
import torch
from torch import Tensor

Made = tuple[Any, Any, tuple[Any, ...], dict[str, Any]]


def _x(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _draw(kind: str, like: Tensor) -> Tensor:
    if kind == "numpy":
        return torch.from_numpy(numpy.random.rand(*like.shape) > 0.5).to(like)
    return torch.rand_like(like) if kind == "noise" else (torch.rand_like(like) > 0.5).to(like)


def dropout_function(kind: str) -> Callable[[], Made]:
    class Sound(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.drawn = _draw(kind, x)
            return x * ctx.drawn

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return g * ctx.drawn

    class Wrong(Sound):
        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return g * _draw(kind, g)

    return lambda: (Wrong, Sound, (_x(4, 6),), {})


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: float, backward: float) -> Tensor:
        ctx.factor = backward
        return x * forward

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.factor, None, None


def scaled_module(kind: str) -> Callable[[], Made]:
    in_eval = 1.0 if kind == "dropout" else 0.25

    class Scaled(torch.nn.Module):
        def __init__(self, wrong: bool) -> None:
            super().__init__()
            self.wrong = wrong

        def forward(self, x: Tensor) -> Any:
            factor = 0.5 if self.training else in_eval
            return _Scale.apply(x, factor, 0.5 if self.wrong else factor)

    return lambda: (Scaled(True), Scaled(False), (_x(4, 3),), {})


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, batch: bool, wrong: bool) -> Tensor:
        ctx.batch = batch or wrong
        return x - (x.mean(0) if batch else mean)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g - g.mean(0) if ctx.batch else g.clone(), None, None, None


def norm_module() -> Made:
    class Centre(torch.nn.Module):
        def __init__(self, wrong: bool) -> None:
            super().__init__()
            self.wrong = wrong
            self.register_buffer("mean", torch.zeros((), dtype=torch.float64))

        def forward(self, x: Tensor) -> Any:
            return _Norm.apply(x, self.mean, self.training, self.wrong)

    return Centre(True), Centre(False), (_x(4, 3),), {}
