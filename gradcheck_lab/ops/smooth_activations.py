"""Smooth activations, elementwise."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grad = tuple[torch.Tensor]


@op(real("*s"))
def tanh(x: torch.Tensor) -> torch.Tensor:
    """tanh(x), elementwise.

    `x` and the output have any shape.
    Source: Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 6.3.2.

    >>> tanh(torch.tensor([0.0, 100.0]))
    tensor([0., 1.])
    """
    return torch.tanh(x)


@tanh.backward
@rounded_once
def tanh_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = g (1 - ȳ²) with y = tanh(x)."""
    return (grad_output * (1 - output.conj().square()),)


@op(real("*s"))
def sigmoid(x: torch.Tensor) -> torch.Tensor:
    """1 / (1 + e⁻ˣ), elementwise.

    `x` and the output have any shape.
    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.2.

    >>> sigmoid(torch.tensor([0.0, -1000.0]))
    tensor([0.5000, 0.0000])
    """
    return torch.sigmoid(x)


@sigmoid.backward
@rounded_once
def sigmoid_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = g y (1 - y) with y = σ(x); conjugated where complex."""
    y = output.conj()
    return (grad_output * y * (1 - y),)


@op(real("*s"), choices={"beta": (1.0, 0.5, 3.0), "threshold": (20.0, 1.0)})
def softplus(x: torch.Tensor, *, beta: float = 1.0, threshold: float = 20.0) -> torch.Tensor:
    """log(1 + e^(beta x)) / beta, elementwise; x itself where beta x > threshold.

    `x` and the output have any shape. It jumps a little at the threshold, and its gradient with it.
    Raises `InvalidArgument` for a beta of 0.
    Source: Dugas et al., "Incorporating second-order functional knowledge for better option pricing", 2001.

    >>> softplus(torch.tensor([-1000.0, 1000.0]))
    tensor([   0., 1000.])
    """
    return F.softplus(x, beta, threshold)


@softplus.validator
def refuse_no_slope(x: torch.Tensor, *, beta: float = 1.0, threshold: float = 20.0) -> None:
    """Raise `InvalidArgument` for a beta that would be divided by."""
    if beta == 0:
        raise InvalidArgument("softplus: beta is 0 and the logarithm is divided by it; pass another number, such as 1.0")


@softplus.backward
@rounded_once
def softplus_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, beta: float = 1.0, threshold: float = 20.0
) -> Grad:
    """dx = g σ(beta x), and g where beta x > threshold."""
    scaled = x if beta == 1 else beta * x
    return (torch.where(scaled > threshold, grad_output, grad_output * torch.sigmoid(scaled)),)


@op(real("*s"), choices={"approximate": ("none", "tanh")})
def gelu(x: torch.Tensor, *, approximate: str = "none") -> torch.Tensor:
    """x Φ(x), elementwise, Φ the normal distribution function.

    `x` and the output have any shape. `approximate` is "none", or "tanh" for x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.
    Raises `InvalidArgument` for another `approximate`.
    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.

    >>> gelu(torch.tensor([0.0, 100.0])).tolist()
    [0.0, 100.0]
    """
    return F.gelu(x, approximate=approximate)


@gelu.validator
def refuse_approximation(x: torch.Tensor, *, approximate: str = "none") -> None:
    """Raise `InvalidArgument` for an approximation that there is not."""
    if approximate not in ("none", "tanh"):
        raise InvalidArgument(f"gelu has no approximation {approximate!r}; it has 'none', 'tanh'")


@gelu.backward
@rounded_once
def gelu_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, approximate: str = "none") -> Grad:
    """dx = g (Φ(x) + x φ(x)) with φ the normal density; by tanh g (1 + t) (1 + x u'(x) (1 - t)) / 2, t = tanh(u(x))."""
    if approximate == "none":
        distribution = (1 + torch.erf(x * math.sqrt(1 / 2))) / 2
        density = torch.exp(x.square() / -2)
        return (grad_output * torch.addcmul(distribution, x, density, value=1 / math.sqrt(2 * math.pi)),)
    slope, square = math.sqrt(2 / math.pi), x.square()
    t = torch.tanh(slope * torch.addcmul(x, x, square, value=0.044715))
    z = slope * torch.addcmul(x, x, square, value=3 * 0.044715)
    return (grad_output * (1 + t) * (1 + z * (1 - t)) / 2,)


@op(real("*s"))
def silu(x: torch.Tensor) -> torch.Tensor:
    """x σ(x), elementwise; also called swish.

    `x` and the output have any shape.
    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units for neural network function approximation", 2018.

    >>> silu(torch.tensor([0.0, 1000.0])).tolist()
    [0.0, 1000.0]
    """
    return F.silu(x)


@silu.backward
@rounded_once
def silu_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = g (s + y (1 - s)) with s = σ(x), y = x s."""
    s = torch.sigmoid(x)
    return (grad_output * torch.addcmul(s, output, 1 - s),)
