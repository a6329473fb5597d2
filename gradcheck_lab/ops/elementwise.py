"""Elementary functions of one tensor, elementwise; complex numbers by the convention of torch."""

from __future__ import annotations

import torch

from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import positive, real

Grad = tuple[torch.Tensor]


@op(real("*s"))
def exp(x: torch.Tensor) -> torch.Tensor:
    """eˣ, elementwise; `x` and the output have any shape.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 4.2.

    >>> exp(torch.zeros(2)).tolist()
    [1.0, 1.0]
    """
    return torch.exp(x)


@exp.backward
def exp_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = g ȳ with y = eˣ."""
    return (grad_output * output.conj(),)


@op(positive("*s"))
def log(x: torch.Tensor) -> torch.Tensor:
    """The natural logarithm, elementwise; `x` and the output have any shape, and at 0 the gradient is infinite.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 4.1.

    >>> log(torch.ones(2)).tolist()
    [0.0, 0.0]
    """
    return torch.log(x)


@log.backward
def log_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = g / x̄."""
    return (grad_output / x.conj(),)


@op(positive("*s"))
def log1p(x: torch.Tensor) -> torch.Tensor:
    """log(1 + x), elementwise, exact for small x; `x` > -1 and the output have any shape.

    Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 1.14.1.

    >>> log1p(torch.tensor([1e-10])).tolist() == [torch.tensor(1e-10).item()]
    True
    """
    return torch.log1p(x)


@log1p.backward
@rounded_once
def log1p_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = g / (1 + x̄)."""
    return (grad_output / (1 + x.conj()),)


@op(positive("*s"))
def sqrt(x: torch.Tensor) -> torch.Tensor:
    """The square root, elementwise; `x` and the output have any shape, and at 0 the gradient is infinite, as in torch.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 3.3.

    >>> sqrt(torch.full((2,), 9.0)).tolist()
    [3.0, 3.0]
    """
    return torch.sqrt(x)


@sqrt.backward
@rounded_once
def sqrt_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = g / (2 ȳ) with y = √x."""
    return (grad_output / (2 * output.conj()),)


@op(positive("*s"))
def rsqrt(x: torch.Tensor) -> torch.Tensor:
    """1 / √x, elementwise; `x` and the output have any shape.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 3.3.

    >>> rsqrt(torch.full((2,), 4.0)).tolist()
    [0.5, 0.5]
    """
    return torch.rsqrt(x)


@rsqrt.backward
@rounded_once
def rsqrt_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = -g ȳ³ / 2 with y = 1 / √x."""
    y = output.conj()
    return (-grad_output * (y * y * y) / 2,)


@op(real("*s"))
def abs(x: torch.Tensor) -> torch.Tensor:
    """|x|, elementwise; `x` and the output have any shape. At x = 0 the subgradient is 0, as in torch.

    Source: Boyd and Vandenberghe, "Subgradients", 2008, section 1.

    >>> abs(torch.tensor([-2.0, 0.0])).tolist()
    [2.0, 0.0]
    """
    return torch.abs(x)


@abs.backward
def abs_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = g sign(x), x / |x| where complex."""
    return (grad_output * x.sgn(),)


@op(real("*s"))
def sin(x: torch.Tensor) -> torch.Tensor:
    """The sine of `x` in radians, elementwise; `x` and the output have any shape.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 4.3.

    >>> sin(torch.zeros(1)).tolist()
    [0.0]
    """
    return torch.sin(x)


@sin.backward
@rounded_once
def sin_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = g cos(x̄)."""
    return (grad_output * x.conj().cos(),)


@op(real("*s"))
def cos(x: torch.Tensor) -> torch.Tensor:
    """The cosine of `x` in radians, elementwise; `x` and the output have any shape.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 4.3.

    >>> cos(torch.zeros(1)).tolist()
    [1.0]
    """
    return torch.cos(x)


@cos.backward
@rounded_once
def cos_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = -g sin(x̄)."""
    return (-grad_output * x.conj().sin(),)
