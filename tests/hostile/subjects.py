"""Subjects that do what no sound one does: every form of subject around one function of one tensor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.row import normal

X = normal(4, 3)
Rule = Callable[[Tensor, Tensor], Any]


class Ends(BaseException):
    """What no `except Exception` catches."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class UnprintableAtAll(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class TextIsNone(Exception):
    def __str__(self) -> str:
        return None  # type: ignore[return-value]


EXCEPTIONS: dict[str, BaseException] = {
    "SystemExit": SystemExit(0),
    "GeneratorExit": GeneratorExit(),
    "StopIteration": StopIteration(),
    "CancelledError": asyncio.CancelledError(),
    "BaseExceptionGroup": BaseExceptionGroup("several", [SystemExit(1)]),
    "ExceptionGroup": ExceptionGroup("several", [ValueError("one")]),
    "MemoryError": MemoryError(),
    "Ends": Ends("a class of its own"),
    "Unprintable": Unprintable(),
    "UnprintableAtAll": UnprintableAtAll(),
    "TextIsNone": TextIsNone(),
    "ValueError": ValueError("\x1b[31mred\x00\ud800" + "long" * 10_000),
}


def raiser(error: BaseException) -> Callable[..., Any]:
    def raises(*arguments: Any, **keywords: Any) -> Any:
        raise error

    return raises


def square(x: Tensor) -> Tensor:
    return x * x


def twice(g: Tensor, x: Tensor) -> Any:
    return 2 * g * x


def op(rule: Rule = twice, forward: Callable[..., Any] = square, name: str = "subject") -> gl.Op:
    return gl.Op(forward, lambda g, y, x: (rule(g, x),), name=name)


def program(rule: Rule = twice, forward: Callable[..., Any] = square) -> Callable[[Tensor], Any]:
    inner = op(rule, forward)
    return lambda x: inner(x)


def function(rule: Rule = twice, forward: Callable[..., Any] = square) -> type[torch.autograd.Function]:
    class Squared(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return rule(g, ctx.saved_tensors[0])

    return Squared


def layer(rule: Rule = twice, forward: Callable[..., Any] = square) -> Any:
    class Layer:
        def forward(self, x: Tensor) -> Any:
            self.x = x
            return forward(x)

        def backward(self, g: Tensor) -> Any:
            return rule(g, self.x)

    return Layer()


FORMS: dict[str, Callable[..., Any]] = {"op": op, "program": program, "function": function, "layer": layer}

# what a backward of x * x returns, from the right gradient
RETURNED: dict[str, Callable[[Tensor], Any]] = {
    "mask": lambda right: right > 0,
    "integers": lambda right: right.long(),
    "float8": lambda right: right.to(torch.float8_e4m3fn),
    "half": lambda right: right.half(),
    "complex": lambda right: right.to(torch.complex128),
    "complex32": lambda right: right.to(torch.complex32),
    "meta": lambda right: right.to("meta"),
    "nested": lambda right: torch.nested.nested_tensor(list(right)),
    "jagged": lambda right: torch.nested.nested_tensor(list(right), layout=torch.jagged),
    "quantized": lambda right: torch.quantize_per_tensor(right.float(), 0.1, 0, torch.qint8),
    "generator": lambda right: (value for value in [right]),
    "dict": lambda right: {"x": right},
    "string": lambda right: "gradient",
    "object-array": lambda right: np.array([object()]),
    "class": lambda right: int,
    "empty": lambda right: torch.empty(0),
}

SOUND: dict[str, Callable[[Tensor], Any]] = {
    "sparse": lambda right: right.to_sparse(),
    "parameter": torch.nn.Parameter,
    "requires-grad": lambda right: right.clone().requires_grad_(),
    "negated-view": lambda right: torch._neg_view(-right),
}


class Hostile:
    """An object that raises whatever is done with it, but for what `type()` says."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no attribute {name}")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = None  # type: ignore[assignment]


class NoAttributes:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no attribute {name}")


class EndsWhenLookedAt:
    def __getattr__(self, name: str) -> Any:
        raise SystemExit(0)


class NoLength(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("cannot be gone through")


INPUTS: dict[str, Callable[[], Any]] = {
    "sparse": X.to_sparse,
    "csr": X.to_sparse_csr,
    "meta": lambda: X.to("meta"),
    "nested": lambda: torch.nested.nested_tensor(list(X)),
    "quantized": lambda: torch.quantize_per_tensor(X.float(), 0.1, 0, torch.qint8),
    "float8": lambda: X.to(torch.float8_e4m3fn),
    "complex32": lambda: X.to(torch.complex32),
    "masked": lambda: torch.masked.masked_tensor(X, X > 0),
    "lazy-parameter": torch.nn.UninitializedParameter,
    "mask": lambda: X > 0,
    "none": lambda: None,
    "string": lambda: "x",
    "generator": lambda: (value for value in [X]),
    "hostile": Hostile,
    "no-attributes": NoAttributes,
    "ends": EndsWhenLookedAt,
    "no-length": NoLength,
    "empty": lambda: X[:0],
    "nan": lambda: X * torch.nan,
}
