"""Mistakes in formulas as evidence, without running any op: a call, its gradient, and the wrong one of a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradcheck_lab.diagnosis import Evidence

Drawn = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Formula:
    """`outputs(x)`, `sound(g, y, x)` and `wrong(g, y, x)`, with the cause and the sentence that the wrong one gets.

    `{n}` and `{d}` in the sentence are the sizes of x. A formula with an empty cause is a twin: as it is, it is nothing that
    has a name, however much it looks like one.
    """

    name: str
    forward: Callable[[Tensor], Tensor]
    sound: Callable[[Tensor, Tensor, Tensor], Tensor]
    wrong: Callable[[Tensor, Tensor, Tensor], Tensor]
    cause: str
    sentence: str

    def evidence(self, n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Evidence:
        """The evidence of one call with x of shape (n, d)."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype)
        y = self.forward(x.double())
        g = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(dtype)
        expected = self.sound(g.double(), y, x.double())
        actual = self.wrong(g.double(), y, x.double()).to(dtype)
        return evidence_of(actual, expected, {"x": x, "output": y}, (g,))

    def __str__(self) -> str:
        return self.name


def evidence_of(
    actual: Tensor,
    expected: Tensor,
    tensors: Mapping[str, Tensor] | None = None,
    upstream: tuple[Tensor, ...] = (),
    options: Mapping[str, Any] | None = None,
) -> Evidence:
    """The evidence about the gradient of `x`."""
    return Evidence("x", actual, expected, actual.dtype, tensors or {}, {"x": expected}, upstream, options=options or {})


def softmax_term(g: Tensor, y: Tensor, axis: int = -1) -> Tensor:
    return y * (g * y).sum(axis, keepdim=True)


def softmax_rule(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    return y * g - softmax_term(g, y)


def normalised(x: Tensor, axis: int = -1, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    centred = x - x.mean(axis, keepdim=True)
    s = (centred.square().mean(axis, keepdim=True) + eps).sqrt()
    return centred / s, s


def norm_rule(axis: int = -1, mean: bool = True, variance: bool = True, eps: float = 1e-5) -> Callable[..., Tensor]:
    """The backward of a normalisation along `axis`, with the terms that are wanted."""

    def rule(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
        h, s = normalised(x, axis, eps)
        inner = g
        if mean:
            inner = inner - g.mean(axis, keepdim=True)
        if variance:
            inner = inner - h * (g * h).mean(axis, keepdim=True)
        return inner / s

    return rule


def norm_forward(x: Tensor) -> Tensor:
    return normalised(x)[0]


FORMULAS = (
    Formula(
        "skip", lambda x: x + torch.sin(x), lambda g, y, x: g + g * torch.cos(x), lambda g, y, x: g * torch.cos(x),
        "missing-term", "the term grad_output is missing: what a skip connection passes on",
    ),
    Formula(
        "skip-subtracted", lambda x: torch.exp(x) - x, lambda g, y, x: g * x.exp() - g, lambda g, y, x: g * x.exp(),
        "missing-term", "the term -grad_output is missing",
    ),
    Formula(
        "softmax", lambda x: torch.softmax(x, -1), softmax_rule, lambda g, y, x: y * g,
        "missing-term", "the term -output * sum(grad_output * output) per row is missing",
    ),
    Formula(
        "softmax-over-columns", lambda x: torch.softmax(x, 0),
        lambda g, y, x: y * g - softmax_term(g, y, 0), lambda g, y, x: y * g,
        "missing-term", "the term -output * sum(grad_output * output) per column is missing",
    ),
    Formula(
        "log-softmax", lambda x: torch.log_softmax(x, -1),
        lambda g, y, x: g - y.exp() * g.sum(-1, keepdim=True), lambda g, y, x: g,
        "missing-term", "the term -exp(output) * sum(grad_output) per row is missing",
    ),
    Formula(
        "tanh", torch.tanh, lambda g, y, x: g * (1 - y * y), lambda g, y, x: g,
        "missing-term", "the term -grad_output * output^2 is missing",
    ),
    Formula(
        "layer-norm-mean", norm_forward, norm_rule(), norm_rule(mean=False),
        "missing-term", "what is missing is a constant per row: the term of a mean, a maximum or another statistic",
    ),
    Formula(
        "layer-norm-variance", norm_forward, norm_rule(), norm_rule(variance=False),
        "missing-term",
        "what is missing is a multiple of x minus its mean per row: the term of a variance, norm or another statistic",
    ),
    Formula(
        "layer-norm-statistics", norm_forward, norm_rule(), norm_rule(mean=False, variance=False),
        "missing-term",
        "what is missing is a constant plus a multiple of x per row: the terms of the mean and of the variance or norm",
    ),
    Formula(
        "batch-norm-mean", lambda x: normalised(x, 0)[0], norm_rule(0), norm_rule(0, mean=False),
        "missing-term", "what is missing is a constant per column: the term of a mean, a maximum or another statistic",
    ),
    Formula(
        "unit-length", lambda x: x / x.norm(dim=-1, keepdim=True),
        lambda g, y, x: (g - softmax_term(g, y)) / x.norm(dim=-1, keepdim=True),
        lambda g, y, x: g / x.norm(dim=-1, keepdim=True),
        "missing-term", "what is missing is a multiple of x per row: the term of a variance, norm or another statistic",
    ),
    Formula(
        "layer-norm-epsilon", norm_forward, norm_rule(), norm_rule(eps=1e-3),
        "epsilon-mismatch",
        "the relative error is 0.00099/std(x)^2 per row: an epsilon that only one of forward and backward has",
    ),
    Formula(
        "logarithm-epsilon", lambda x: x.abs().log(), lambda g, y, x: g / x, lambda g, y, x: g / (x + 1e-7 * x.sign()),
        "epsilon-mismatch", "the relative error is 1e-07/|x|: an epsilon that only one of forward and backward has",
    ),
    Formula(
        "row-scale", norm_forward, norm_rule(), lambda g, y, x: norm_rule()(g, y, x) * normalised(x)[1],
        "constant-factor", "it is sqrt(var(x) + 1e-05) times the reference, sqrt(var(x) + 1e-05) taken per row",
    ),
    Formula(
        "local-derivative", lambda x: x**3, lambda g, y, x: 3 * g * x * x, lambda g, y, x: 3 * g * x**3,
        "wrong-value", "in every element it is x times the reference: a factor of the local derivative is wrong",
    ),
    Formula(
        "sign-of-a-row", lambda x: x * x, lambda g, y, x: 2 * g * x,
        lambda g, y, x: 2 * g * x * torch.where(torch.arange(len(x)) == 1, -1, 1).unsqueeze(1),
        "sign", "it is exactly -1 times the reference in row 1, and right everywhere else",
    ),
    Formula(
        "unwritten-columns", lambda x: x * x, lambda g, y, x: 2 * g * x,
        lambda g, y, x: 2 * g * x * (torch.arange(x.shape[1]) < x.shape[1] - 1),
        "unwritten-elements", "only the elements from {last} on along axis 1 are wrong, and there they are zero",
    ),
    Formula(
        "negative-values", lambda x: x * x, lambda g, y, x: 2 * g * x, lambda g, y, x: torch.where(x < 0, g.cos(), 2 * g * x),
        "value-dependent", "it is wrong exactly where x < 0, and right everywhere else",
    ),
)  # fmt: skip

# what a named mistake leaves, mixed so that no name holds
NAMELESS = (
    Formula(
        "softmax-weighed-by-sines", lambda x: torch.softmax(x, -1), softmax_rule,
        lambda g, y, x: softmax_rule(g, y, x) + torch.sin(7 * g + x), "", "",
    ),
    Formula(
        "every-reduction-is-constant", lambda x: x.mean(-1), lambda g, y, x: (g / x.shape[1]).unsqueeze(1).expand(x.shape),
        lambda g, y, x: torch.sin(3 * g + 1).unsqueeze(1).expand(x.shape), "constant-factor", "",
    ),
    Formula(
        "wrong-function", torch.erf, lambda g, y, x: g * torch.exp(-x * x), lambda g, y, x: g * torch.exp(-x.abs()),
        "", "",
    ),
)  # fmt: skip
