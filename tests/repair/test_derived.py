"""Gradients that are read off a forward are autograd's, operator by operator; what has no expression is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gradcheck_lab.repair.derived import Unreadable, backward_of, derived
from gradcheck_lab.repair.trial import Call

X = torch.linspace(0.2, 1.7, 12, dtype=torch.float64).reshape(4, 3)
W = torch.tensor([0.5, 1.5, 2.0], dtype=torch.float64)
M = torch.linspace(-1.0, 1.0, 6, dtype=torch.float64).reshape(3, 2)

FORWARDS: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "tanh": (torch.tanh, (X,)),
    "chain": (lambda x: torch.exp(-x.square()) * 3 + x.sqrt(), (X,)),
    "quotient": (lambda x, w: (x - w) / (1 + x * w), (X, W)),
    "powers": (lambda x: x**3 + x**2 + x.rsqrt() + 2 / x, (X,)),
    "logarithms": (lambda x: torch.log1p(x) - x.log() + torch.expm1(x), (X,)),
    "angles": (lambda x: x.sin() * x.cos() + x.atan() + x.tan() + x.sinh() - x.cosh(), (X,)),
    "gates": (lambda x: torch.sigmoid(x) + torch.nn.functional.silu(x) + torch.relu(x - 1) + x.abs(), (X,)),
    "erf": (lambda x: torch.erf(x) + torch.nn.functional.softplus(x), (X,)),
    "choice": (lambda x, w: torch.maximum(x, w) - torch.minimum(x, 2 * w), (X, W)),
    "sum": (lambda x: (x * x).sum(), (X,)),
    "sum of rows": (lambda x: (x * x).sum(-1), (X,)),
    "kept": (lambda x: x / x.sum(0, keepdim=True), (X,)),
    "centred": (lambda x: x - x.mean(0), (X,)),
    "mean": (lambda x, w: (x * w).mean(), (X, W)),
    "softmax": (lambda x: torch.softmax(x, -1) * 2, (X,)),
    "log softmax": (lambda x: torch.log_softmax(x, 0), (X,)),
    "linear": (lambda x, m, b: torch.tanh(torch.nn.functional.linear(x, m.T, b)), (X, M, M[0])),
    "permuted": (lambda x: x.sin().permute(2, 0, 1).transpose(0, 1).exp(), (X.reshape(2, 2, 3),)),
    "transposed back": (lambda x: x.T.T * x.mT.mT, (X,)),
    "product": (lambda x, m: torch.sigmoid(x @ m), (X, M)),
    "scaled": (lambda x, w: torch.add(x, w, alpha=3) - torch.sub(x, w, alpha=2), (X, W)),
    "twice": (lambda x: x * x * x, (X,)),
    "unused": (lambda x, w: x.exp(), (X, W)),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_the_expressions_are_the_gradients_of_autograd(name: str) -> None:
    forward, inputs = FORWARDS[name]
    ran = Call(inputs).run((forward, lambda grad_output, output, *given: given))
    wanted = list(range(len(inputs)))
    expressions, _ = derived(ran.runner, ran.case, wanted)
    leaves = [value.clone().requires_grad_() for value in inputs]
    output = forward(*leaves)
    grad_output = torch.linspace(-1.0, 2.0, output.numel(), dtype=torch.float64).reshape(output.shape)
    expected = torch.autograd.grad(output, leaves, grad_output, allow_unused=True, materialize_grads=True)
    found = backward_of(ran.subject.names, expressions)(grad_output, output.detach(), *inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


REFUSED = [
    lambda x: x.cumsum(0), lambda x: torch.fft.rfft(x).abs(), lambda x: (x, x * 2), lambda x: x.reshape(2, 6).exp(),
    lambda x: (x * 2).mul_(x),
]  # fmt: skip


@pytest.mark.parametrize("forward", REFUSED)
def test_what_no_expression_says_is_refused(forward: Callable[..., Tensor]) -> None:
    ran = Call((X,)).run((forward, lambda grad_output, output, x: (x,)))
    with pytest.raises(Unreadable):
        derived(ran.runner, ran.case, [0])
