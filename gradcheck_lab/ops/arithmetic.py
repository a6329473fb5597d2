"""Arithmetic with broadcasting; every gradient is summed over the axes that its operand was broadcast along."""

from __future__ import annotations

import torch

from gradcheck_lab.ops._reduce import sum_to
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import positive, real

Pair = tuple[torch.Tensor, torch.Tensor]


@op(real("*#s"), real("*#s"))
def add(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a + b.

    `a` and `b` have shapes that broadcast; the output has the broadcast shape.

    >>> add(torch.ones(2, 3), torch.ones(3)).shape
    torch.Size([2, 3])
    """
    return a + b


@add.backward
def add_backward(grad_output: torch.Tensor, output: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Pair:
    """da = g, db = g, each summed to its operand's shape."""
    return sum_to(grad_output, a.shape), sum_to(grad_output, b.shape)


@op(real("*#s"), real("*#s"))
def sub(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a - b.

    `a` and `b` have shapes that broadcast; the output has the broadcast shape.

    >>> sub(torch.ones(2), torch.ones(2)).tolist()
    [0.0, 0.0]
    """
    return a - b


@sub.backward
def sub_backward(grad_output: torch.Tensor, output: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Pair:
    """da = g, db = -g, each summed to its operand's shape."""
    return sum_to(grad_output, a.shape), sum_to(-grad_output, b.shape)


@op(real("*#s"), real("*#s"))
def mul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a * b, elementwise.

    `a` and `b` have shapes that broadcast; the output has the broadcast shape.

    >>> mul(torch.full((2,), 3.0), torch.full((2,), 2.0)).tolist()
    [6.0, 6.0]
    """
    return a * b


@mul.backward
def mul_backward(grad_output: torch.Tensor, output: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Pair:
    """da = g b̄, db = g ā, each summed to its operand's shape."""
    return sum_to(grad_output * b.conj(), a.shape), sum_to(grad_output * a.conj(), b.shape)


@op(real("*#s"), positive("*#s"))
def div(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a / b, elementwise.

    `a` and `b` have shapes that broadcast; the output has the broadcast shape.

    >>> div(torch.full((2,), 3.0), torch.full((2,), 2.0)).tolist()
    [1.5, 1.5]
    """
    return a / b


@div.backward
def div_backward(grad_output: torch.Tensor, output: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Pair:
    """da = g / b̄, db = -g ȳ / b̄ with y = a / b, each summed to its operand's shape."""
    da = grad_output / b.conj()
    return sum_to(da, a.shape), sum_to(-da * output.conj(), b.shape)


@op(real("*s"))
def neg(x: torch.Tensor) -> torch.Tensor:
    """-x, elementwise; any shape.

    >>> neg(torch.ones(1)).tolist()
    [-1.0]
    """
    return -x


@neg.backward
def neg_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
    """dx = -g."""
    return (-grad_output,)
