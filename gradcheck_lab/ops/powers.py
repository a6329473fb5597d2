"""Powers with tensors for base and exponent."""

from __future__ import annotations

import torch

from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.ops._reduce import sum_to
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import integers, nonzero, positive, real


@op(positive("*#s"), nonzero("*#s"))  # at an exponent of 0 torch cuts off the second derivative of its own rule
def pow(base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """baseᵉˣᵖᵒⁿᵉⁿᵗ, elementwise.

    `base` and `exponent` have shapes that broadcast; the output has the broadcast shape. The exponent may be of an integer
    dtype, and then has no gradient; a number is a tensor without dimensions. 0⁰ is 1. As in torch a base of 0 sends nothing
    to an exponent of 0 or above, an exponent of 0 nothing to its base, and a negative base NaN to a real exponent.
    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 4.2.

    >>> pow(torch.tensor([-3.0, 0.0]), torch.tensor([2, 0])).tolist()
    [9.0, 1.0]
    """
    return torch.pow(base, exponent)


pow.accepts(real("*#s"), integers("*#s", low=-1, high=4))


@pow.backward
@rounded_once
def pow_backward(
    grad_output: torch.Tensor, output: torch.Tensor, base: torch.Tensor, exponent: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """dbase = g b aᵇ⁻¹, 0 where a = b = 0; dexponent = g aᵇ log a, 0 where a = 0 and b >= 0; each summed to its shape."""
    # b aᵇ⁻¹ is 0 for b = 0, which 0 times an infinite power hides; beside 0 nothing is cut off from a second derivative
    undefined = (exponent == 0) & (base.abs() < torch.finfo(base.dtype).tiny)
    slope = exponent * torch.pow(torch.where(undefined, 1, base), exponent - 1)
    dbase = sum_to(grad_output * slope.conj(), base.shape)
    if not (exponent.is_floating_point() or exponent.is_complex()):
        return dbase, None
    nothing = (base == 0) & (exponent.real >= 0)
    logarithm = torch.where(nothing, 1, base).log()
    return dbase, sum_to(torch.where(nothing, 0, grad_output * (output * logarithm).conj()), exponent.shape)
