"""Matrix products and the layers made of one."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._reduce import sum_to
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grads = tuple[torch.Tensor, ...]


@op(real("*b d_in"), real("d_out d_in"), real("d_out"))
def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, /) -> torch.Tensor:
    """x Wᵀ + b, over any leading dimensions.

    `x` (*b, d_in), `weight` (d_out, d_in), `bias` (d_out,), which may be left out; the output is (*b, d_out).
    Source: Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 6.5.

    >>> linear(torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4)).shape
    torch.Size([2, 4])
    """
    product = x @ weight.T
    return product if bias is None else product + bias


linear.accepts(real("*b d_in"), real("d_out d_in"))


@linear.backward
def linear_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> Grads:
    """dx = g W,  dW = gᵀ x,  db = Σ g over the batch."""
    d_out, d_in = weight.shape
    batch = x.shape[:-1].numel()
    g = grad_output.reshape(batch, d_out)
    grads = (grad_output @ weight, g.T @ x.reshape(batch, d_in))
    return grads if bias is None else (*grads, g.sum(0))


@op(real("n d_in"), real("d_in d_out"), real("d_out"))
def affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """x W + b, each example flattened into a row first.

    `x` (n, d_in), or (n, c, h, w) with c h w = d_in; `weight` (d_in, d_out), `bias` (d_out,); the output is (n, d_out).
    Raises `InvalidArgument` for images whose elements are not as many as the weight has rows.
    Source: Saitoh, "Deep Learning from Scratch", 2016, section 5.6.2.

    >>> affine(torch.ones(2, 3, 2, 2), torch.ones(12, 5), torch.zeros(5)).shape
    torch.Size([2, 5])
    """
    return x.flatten(1) @ weight + bias


@affine.admits(real("n c h w"), real("d_in d_out"), real("d_out"))
@affine.validator
def refuse_images(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Raise `InvalidArgument` for images that flatten into rows of another length than the weight takes."""
    if all(isinstance(value, torch.Tensor) for value in (x, weight)) and (x.ndim, weight.ndim) == (4, 2):
        found = x.shape[1:].numel()
        if found != weight.shape[0]:
            raise InvalidArgument(
                f"affine: x has shape {tuple(x.shape)}, rows of {found}, and weight {tuple(weight.shape)} takes rows of "
                f"{weight.shape[0]}; pass a weight of shape ({found}, d_out)"
            )


@affine.backward
def affine_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> Grads:
    """dx = g Wᵀ in the shape of x,  dW = xᵀ g,  db = Σ g over the batch."""
    return (grad_output @ weight.T).reshape(x.shape), x.flatten(1).T @ grad_output, grad_output.sum(0)


@op(real("*#b m k"), real("*#b k n"))
def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b over broadcast leading dimensions; a vector is a row on the left, a column on the right.

    `a` (*b, m, k) or (k,), `b` (*b, k, n) or (k,); the output is (*b, m, n), without m where `a` is a vector and without n
    where `b` is one. Raises `InvalidArgument` for a scalar.

    >>> matmul(torch.ones(5, 2, 3), torch.ones(3, 4)).shape
    torch.Size([5, 2, 4])
    >>> matmul(torch.ones(3), torch.ones(3))
    tensor(3.)
    """
    return a @ b


matmul.accepts(real("k"), real("k"))
matmul.accepts(real("*b m k"), real("k"))
matmul.accepts(real("k"), real("*b k n"))


@matmul.validator
def refuse_scalars(a: torch.Tensor, b: torch.Tensor) -> None:
    """Raise `InvalidArgument` for operands without dimensions."""
    for name, value in (("a", a), ("b", b)):
        if isinstance(value, torch.Tensor) and value.ndim == 0:
            raise InvalidArgument(f"matmul: {name!r} has shape (), no dimension to sum over; multiply by a scalar with ops.mul")


@matmul.backward
def matmul_backward(grad_output: torch.Tensor, output: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Grads:
    """da = g bᴴ, db = aᴴ g, each summed over the leading dimensions that were broadcast; vectors as a row and a column."""
    g = grad_output.unsqueeze(-1) if b.ndim == 1 else grad_output
    g = g.unsqueeze(-2) if a.ndim == 1 else g
    row, column = a.unsqueeze(0) if a.ndim == 1 else a, b.unsqueeze(1) if b.ndim == 1 else b
    da = sum_to(g @ column.mH, row.shape)
    if column.ndim == 2:  # one product over all rows, instead of one for each leading index that are then summed
        rows = row.shape[:-1].numel()
        db = row.reshape(rows, row.shape[-1]).mH @ g.reshape(rows, g.shape[-1])
    else:
        db = sum_to(row.mH @ g, column.shape)
    return da.reshape(a.shape), db.reshape(b.shape)
