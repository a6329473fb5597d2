"""A dozen custom ops for `benchmarks/compiled.py`: sound ones, and ones with a mistake that shows under torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.library import custom_op

Rule = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """A subject, whether it is sound, and its inputs."""

    name: str
    sound: bool
    subject: Any
    inputs: tuple[Tensor, ...]


def _made(name: str, kernel: Callable[[Tensor], Tensor], rule: Rule, fake: Callable[[Tensor], Tensor] | None) -> Any:
    op = custom_op(f"compiled_bench::{name}", kernel, mutates_args=(), schema="(Tensor x) -> Tensor")
    if fake is not None:
        op.register_fake(fake)

    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    op.register_autograd(lambda ctx, grad_output: rule(grad_output, ctx.saved_tensors[0]), setup_context=setup_context)
    return op


def _kept(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def _plain(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _in_numpy(function: Callable[[Any], Any]) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.from_numpy(np.ascontiguousarray(function(x.detach().numpy())))


def _cosine() -> Any:
    """The cosine by a kernel of its own, for backwards that call a second operator."""
    op = custom_op("compiled_bench::cosine_of", lambda x: x.cos().clone(), mutates_args=(), schema="(Tensor x) -> Tensor")
    op.register_fake(_kept)
    return op


def _dropped() -> Any:
    """A kernel that doubles its argument in place, of which its schema says nothing."""

    def double(x: Tensor) -> None:
        x.mul_(2)

    op = custom_op("compiled_bench::double_in_place", double, mutates_args=(), schema="(Tensor x) -> ()")
    op.register_fake(lambda x: None)
    return op


def _hidden() -> Any:
    """A Function whose backward doubles a gradient by a kernel that does not declare what it writes to."""
    double = _dropped()

    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            grad = grad_output.clone()
            double(grad)
            return grad

    return Hidden


def rows() -> Iterator[Row]:
    """The rows, made anew: their operators are registered once in a process."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    cosine = _cosine()

    def row(name: str, sound: bool, kernel: Callable[[Tensor], Tensor], rule: Rule, fake: Any = _kept) -> Row:
        return Row(name, sound, _made(name, kernel, rule, fake), (x,))

    def wave(x: Tensor) -> Tensor:
        return x.sin().clone()

    def slope(grad_output: Tensor, x: Tensor) -> Tensor:
        return grad_output * x.cos()

    def of_rows(x: Tensor) -> Tensor:
        return x.new_empty(x.shape[:-1])

    def square(x: Tensor) -> Tensor:
        return x.new_empty(x.shape[0], x.shape[0])

    def turned(x: Tensor) -> Tensor:
        return x.t().contiguous()

    yield row("sine", True, wave, slope)
    yield row("sine_numpy", True, _in_numpy(np.sin), slope, _plain)
    yield row("sine_two_kernels", True, wave, lambda g, x: g * cosine(x))
    yield row("row_sums", True, lambda x: x.sum(-1), lambda g, x: g.unsqueeze(-1).expand(x.shape), of_rows)
    yield row("gram", True, lambda x: x @ x.mT, lambda g, x: (g + g.mT) @ x, square)
    yield row("transposed", True, turned, lambda g, x: turned(g), lambda x: x.new_empty(x.shape[::-1]))
    yield row("no_fake", True, wave, slope, None)
    yield row("numpy_backward", True, wave, lambda g, x: g * torch.from_numpy(np.cos(x.detach().numpy())))
    yield row("fake_strides", False, lambda x: x.sin().t().contiguous().t(), slope, _plain)
    yield row("fake_shape", False, wave, slope, lambda x: x.new_empty(x.numel()))
    yield row("fake_dtype", False, wave, slope, lambda x: torch.empty_like(x, dtype=torch.float32))
    yield row(
        "compiled_branch", False, wave, lambda g, x: slope(g, x) * (2 if torch.compiler.is_compiling() else 1)
    )  # fmt: skip
    yield Row("undeclared_write", False, _hidden(), (x,))
