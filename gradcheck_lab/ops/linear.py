"""Matrix products."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.op import op
from gradcheck_lab.ops._reduce import sum_to
from gradcheck_lab.specs import real


@op(real("*b d_in"), real("d_out d_in"), real("d_out"))
def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """x Wᵀ + b, over any leading dimensions.

    `x` (*b, d_in), `weight` (d_out, d_in), `bias` (d_out,); the output is (*b, d_out).
    Source: Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 6.5.

    >>> linear(torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4)).shape
    torch.Size([2, 4])
    """
    return x @ weight.T + bias


@linear.backward
def linear_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """dx = g W,  dW = gᵀ x,  db = Σ g over the batch."""
    d_out, d_in = weight.shape
    batch = x.shape[:-1].numel()
    g = grad_output.reshape(batch, d_out)
    return grad_output @ weight, g.T @ x.reshape(batch, d_in), g.sum(0)


@op(real("*#b m k"), real("*#b k n"))
def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b over broadcast leading dimensions.

    `a` (*b, m, k), `b` (*b, k, n); the output is (*b, m, n).

    >>> matmul(torch.ones(5, 2, 3), torch.ones(3, 4)).shape
    torch.Size([5, 2, 4])
    """
    return a @ b


@matmul.validator
def refuse_vectors(a: torch.Tensor, b: torch.Tensor) -> None:
    """Raise `InvalidArgument` for operands of rank below two."""
    for name, value in (("a", a), ("b", b)):
        if value.ndim < 2:
            raise InvalidArgument(
                f"matmul: {name!r} has shape {tuple(value.shape)}; give it two dimensions with {name}.unsqueeze"
            )


@matmul.backward
def matmul_backward(
    grad_output: torch.Tensor, output: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """da = g bᴴ, db = aᴴ g, each summed over the leading dimensions that were broadcast."""
    return sum_to(grad_output @ b.mH, a.shape), sum_to(a.mH @ grad_output, b.shape)
