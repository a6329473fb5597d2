"""Which of two operands an element comes from: by a condition, or by size."""

from __future__ import annotations

import torch

from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.ops._reduce import sum_to
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import mask, real

Pair = tuple[torch.Tensor, torch.Tensor]


@op(mask("*#s"), real("*#s"), real("*#s"))
def where(condition: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a where the condition holds, else b, elementwise.

    `condition` (booleans), `a` and `b` have shapes that broadcast; the output has the broadcast shape. The operand that was
    not selected gets 0, whatever it holds.

    >>> where(torch.tensor([True, False]), torch.ones(2), torch.zeros(1)).tolist()
    [1.0, 0.0]
    """
    return torch.where(condition, a, b)


@where.backward
def where_backward(
    grad_output: torch.Tensor, output: torch.Tensor, condition: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> tuple[None, torch.Tensor, torch.Tensor]:
    """da = g where the condition holds, db = g where not, each summed to its operand's shape."""
    da, db = grad_output.where(condition, 0), torch.where(condition, 0, grad_output)
    return None, sum_to(da, a.shape), sum_to(db, b.shape)


@op(real("*#s"), real("*#s"))
def maximum(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The larger of a and b, elementwise.

    `a` and `b` have shapes that broadcast; the output has the broadcast shape. Where they are equal each gets half the
    gradient, as in torch.

    >>> maximum(torch.tensor([1.0, 5.0]), torch.tensor([3.0])).tolist()
    [3.0, 5.0]
    """
    return torch.maximum(a, b)


@maximum.backward
@rounded_once
def maximum_backward(grad_output: torch.Tensor, output: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Pair:
    """da = g where a > b, g/2 where a = b, else 0; db the rest; each summed to its operand's shape."""
    return _shared(grad_output, a, b, a > b)


@op(real("*#s"), real("*#s"))
def minimum(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The smaller of a and b, elementwise.

    `a` and `b` have shapes that broadcast; the output has the broadcast shape. Where they are equal each gets half the
    gradient, as in torch.

    >>> minimum(torch.tensor([1.0, 5.0]), torch.tensor([3.0])).tolist()
    [1.0, 3.0]
    """
    return torch.minimum(a, b)


@minimum.backward
@rounded_once
def minimum_backward(grad_output: torch.Tensor, output: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Pair:
    """da = g where a < b, g/2 where a = b, else 0; db the rest; each summed to its operand's shape."""
    return _shared(grad_output, a, b, a < b)


def _shared(g: torch.Tensor, a: torch.Tensor, b: torch.Tensor, a_wins: torch.Tensor) -> Pair:
    g = torch.where(a == b, g / 2, g)
    lost = ~a_wins & (a != b)
    return sum_to(g.masked_fill(lost, 0), a.shape), sum_to(g.masked_fill(a_wins, 0), b.shape)
