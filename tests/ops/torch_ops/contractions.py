"""Products of tensors of torch."""

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def bilinear(x1: torch.Tensor, x2: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    if 0 in (*x1.shape, *x2.shape, *weight.shape):  # torch's own takes no empty operands
        product = torch.einsum("...i,oij,...j->...o", x1, weight, x2)
        return product if bias is None else product + bias
    return F.bilinear(x1, x2, weight, bias)


def einsum(*operands: torch.Tensor, equation: str = "ij,jk->ik") -> torch.Tensor:
    """The product over all indices at once, then the sum, by broadcasting."""
    left, out = equation.split("->")
    letters = sorted(set(left) - {","})
    product: torch.Tensor | None = None
    for term, operand in zip(left.split(","), operands, strict=True):
        order = sorted(range(len(term)), key=lambda axis: term[axis])
        spread = operand.permute(order)
        for axis, letter in enumerate(letters):
            if letter not in term:
                spread = spread.unsqueeze(axis)
        product = spread if product is None else product * spread
    assert product is not None
    summed = [axis for axis, letter in enumerate(letters) if letter not in out]
    kept = [letter for letter in letters if letter in out]
    total = product.sum(summed) if summed else product
    return total.permute([kept.index(letter) for letter in out])


TORCH = {
    ops.outer: torch.outer,
    ops.bilinear: bilinear,
    ops.einsum: einsum,
}
