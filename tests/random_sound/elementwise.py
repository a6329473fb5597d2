"""Sound elementwise backwards: activations with kinks, rewritten formulas, saved outputs, broadcasting."""

import math
from typing import Any

import torch
from torch import Tensor

from tests.random_sound.draws import WIDE, Draw
from tests.random_sound.forms import Rule, in_float32, sound, sum_to


@sound()
def leaky_relu(draw: Draw) -> Rule:
    def forward(x: Tensor, slope: float = 0.01) -> Tensor:
        return torch.where(x > 0, x, slope * x)

    def strict(g: Tensor, y: Tensor, x: Tensor, slope: float = 0.01) -> Any:
        return (torch.where(x > 0, g, slope * g),)

    def inclusive(g: Tensor, y: Tensor, x: Tensor, slope: float = 0.01) -> Any:
        return (g * torch.where(x >= 0, torch.ones_like(x), slope),)

    def by_output(g: Tensor, y: Tensor, x: Tensor, slope: float = 0.01) -> Any:
        grad = g.clone()
        grad[y <= 0] *= slope
        return (grad,)

    x, options = draw.real(*draw.shape()), {"slope": draw.number(0.01, 0.9)}
    return Rule(forward, draw.alternatives(strict, inclusive, by_output), (x,), options)


@sound()
def elu(draw: Draw) -> Rule:
    def forward(x: Tensor, alpha: float = 1.0) -> Tensor:
        return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))

    def by_output(g: Tensor, y: Tensor, x: Tensor, alpha: float = 1.0) -> Any:
        return (torch.where(x > 0, g, g * (y + alpha)),)

    def by_exp(g: Tensor, y: Tensor, x: Tensor, alpha: float = 1.0) -> Any:
        return (g * torch.where(x > 0, torch.ones_like(x), alpha * x.clamp(max=0).exp()),)

    x, options = draw.real(*draw.shape()), {"alpha": draw.number(0.3, 2)}
    return Rule(forward, draw.alternatives(by_output, by_exp), (x,), options)


@sound()
def softplus(draw: Draw) -> Rule:
    def forward(x: Tensor, beta: float = 1.0) -> Tensor:
        return (x * beta).clamp(min=0) / beta + torch.log1p(torch.exp(-(x * beta).abs())) / beta

    def by_exp(g: Tensor, y: Tensor, x: Tensor, beta: float = 1.0) -> Any:
        return (g / (1 + torch.exp(-beta * x)),)

    def by_tanh(g: Tensor, y: Tensor, x: Tensor, beta: float = 1.0) -> Any:
        return (g * (0.5 + 0.5 * torch.tanh(beta * x / 2)),)

    def by_output(g: Tensor, y: Tensor, x: Tensor, beta: float = 1.0) -> Any:
        return (g * -torch.expm1(-beta * y),)

    rule = draw.alternatives(by_exp, by_tanh, by_output)
    return Rule(forward, rule, (draw.real(*draw.shape()),), {"beta": draw.number(0.5, 2)})


@sound()
def silu(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    def factored(g: Tensor, y: Tensor, x: Tensor) -> Any:
        s = torch.sigmoid(x)
        return (g * s * (1 + x * (1 - s)),)

    def by_output(g: Tensor, y: Tensor, x: Tensor) -> Any:
        s = torch.sigmoid(x)
        return (g * (y + s * (1 - y)),)

    return Rule(forward, draw.alternatives(factored, by_output, in_float32(factored)), (draw.real(*draw.shape()),))


@sound()
def gelu(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return torch.nn.functional.gelu(x)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        cumulative = 0.5 * torch.erfc(-x / math.sqrt(2))
        density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return (g * (cumulative + x * density),)

    return Rule(forward, in_float32(backward), (draw.real(*draw.shape()),))


@sound()
def gelu_tanh(draw: Draw) -> Rule:
    c = math.sqrt(2 / math.pi)

    def forward(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(c * (x + 0.044715 * x**3)))

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        t = torch.tanh(c * (x + 0.044715 * x * x * x))
        inner = c * (1 + 3 * 0.044715 * x * x)
        return (g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner),)

    return Rule(forward, in_float32(backward), (draw.real(*draw.shape()),))


@sound()
def tanh(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return torch.tanh(x)

    def by_output(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g - g * y * y,)

    def factored(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * (1 - y) * (1 + y),)

    def by_cosh(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g / torch.cosh(x.clamp(-10, 10)) ** 2 if x.dtype == torch.float16 else g / torch.cosh(x) ** 2,)

    return Rule(forward, draw.alternatives(by_output, factored, by_cosh), (draw.real(*draw.shape()),))


@sound()
def sigmoid(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def by_output(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (y * (1 - y) * g,)

    def expanded(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * y - g * y * y,)

    def stable(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * torch.sigmoid(x) * torch.sigmoid(-x),)

    return Rule(forward, draw.alternatives(by_output, expanded, stable), (draw.real(*draw.shape()),))


@sound()
def hard_tanh(draw: Draw) -> Rule:
    low, high = -draw.number(0.2, 2), draw.number(0.2, 2)

    def forward(x: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
        return x.clamp(low, high)

    def open_interval(g: Tensor, y: Tensor, x: Tensor, low: float = -1.0, high: float = 1.0) -> Any:
        return (g * ((x > low) & (x < high)),)

    def by_output(g: Tensor, y: Tensor, x: Tensor, low: float = -1.0, high: float = 1.0) -> Any:
        return (torch.where(y == x, g, torch.zeros_like(g)),)

    rule = draw.alternatives(open_interval, by_output)
    return Rule(forward, rule, (draw.real(*draw.shape()),), {"low": low, "high": high})


@sound()
def hard_swish(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x * (x + 3).clamp(0, 6) / 6

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        inner = torch.where(x <= -3, 0.0, torch.where(x < 3, x / 3 + 0.5, 1.0))
        return (g * inner.to(g.dtype),)

    return Rule(forward, backward, (draw.real(*draw.shape()),))


@sound()
def soft_shrink(draw: Draw) -> Rule:
    def forward(x: Tensor, threshold: float = 0.5) -> Tensor:
        return x.sign() * (x.abs() - threshold).clamp(min=0)

    def backward(g: Tensor, y: Tensor, x: Tensor, threshold: float = 0.5) -> Any:
        return (g.masked_fill(x.abs() <= threshold, 0),)

    return Rule(forward, backward, (draw.real(*draw.shape()),), {"threshold": draw.number(0.1, 1)})


@sound()
def absolute(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x.abs()

    def by_sign(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * x.sign(),)

    def one_at_zero(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (torch.where(x < 0, -g, g),)

    return Rule(forward, draw.alternatives(by_sign, one_at_zero), (draw.real(*draw.shape()),))


@sound()
def root_of_square(draw: Draw) -> Rule:
    def forward(x: Tensor, eps: float = 1e-3) -> Tensor:
        return torch.sqrt(x * x + eps)

    def backward(g: Tensor, y: Tensor, x: Tensor, eps: float = 1e-3) -> Any:
        return (g * (x / y),)

    return Rule(forward, backward, (draw.real(*draw.shape()),), {"eps": draw.of((1e-3, 0.1, 1.0))})


@sound()
def powers(draw: Draw) -> Rule:
    exponent = draw.of((2, 3, 0.5, -0.5, -1, 1.5, 1))

    def forward(x: Tensor) -> Tensor:
        return x**exponent

    def by_input(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * exponent * x ** (exponent - 1),)

    def by_output(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (
            {0.5: lambda: g / (2 * y), -1: lambda: -g * y * y, 2: lambda: (x + x) * g}.get(
                exponent, lambda: by_input(g, y, x)[0]
            )(),
        )

    return Rule(forward, draw.alternatives(by_input, by_output), (draw.positive(*draw.shape()),))


@sound()
def log_and_exp(draw: Draw) -> Rule:
    shape = draw.shape()

    def rational(x: Tensor) -> Tensor:
        return 1 / (1 + x * x)

    def rational_backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (-2 * g * y * y * x,)

    def log_forward(x: Tensor) -> Tensor:
        return x.log()

    def log_backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g / x,)

    def exp_forward(x: Tensor) -> Tensor:
        return torch.exp(-x)

    def exp_backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (-(g * y),)

    kind = draw.of(("rational", "log", "exp"))
    if kind == "log":
        return Rule(log_forward, log_backward, (draw.positive(*shape),))
    if kind == "exp":
        return Rule(exp_forward, exp_backward, (draw.positive(*shape),))
    return Rule(rational, rational_backward, (draw.real(*shape),))


@sound(dtypes=WIDE)
def snake(draw: Draw) -> Rule:
    def forward(x: Tensor, a: Tensor) -> Tensor:
        return x + torch.sin(a * x) ** 2 / a

    def backward(g: Tensor, y: Tensor, x: Tensor, a: Tensor) -> Any:
        s, c = torch.sin(a * x), torch.cos(a * x)
        da = g * (2 * x * s * c / a - s * s / (a * a))
        return g * (1 + 2 * s * c), sum_to(da, a.shape)

    shape = draw.shape(1)
    return Rule(forward, backward, (draw.real(*shape), draw.positive(shape[-1])))


@sound()
def prelu(draw: Draw) -> Rule:
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return x.clamp(min=0) + weight * x.clamp(max=0)

    def backward(g: Tensor, y: Tensor, x: Tensor, weight: Tensor) -> Any:
        below = x < 0
        return torch.where(below, g * weight, g), sum_to(g * x * below, weight.shape)

    shape = draw.shape(1)
    x = draw.real(*shape)
    return Rule(forward, in_float32(backward), (x, draw.positive(draw.of((1, shape[-1])))))
