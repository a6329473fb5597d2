"""A gradient that no product of the call gives stays without an explanation, whatever the forward is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.specs import real
from tests.mistakes.catalogue_products import attention, chain, gate, normalised, unit
from tests.mistakes.registry import normal

FORWARDS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "exponential": (lambda a, b: a * b.exp(), ((4, 3), (4, 3))),
    "matmul": (torch.matmul, ((3, 3), (3, 3))),
    "softmax": (lambda x: torch.softmax(x, -1), ((4, 5),)),
    "layer-norm": (lambda x: normalised(x)[0], ((4, 6),)),
    "unit": (unit, ((4, 5),)),
    "gate": (gate, ((4, 3), (4, 3))),
    "chain": (chain, ((4, 3), (3, 3))),
    "attention": (attention, ((2, 4, 4), (2, 4, 4), (2, 4, 4))),
}
# smooth, linear in the upstream gradient, and no derivative of any of these
NAMELESS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sine": lambda g, x: g.mean() * torch.sin(7 * x + 1),
    "power": lambda g, x: g.norm() * (x.abs() + 0.3) ** 0.7,
    "shifted": lambda g, x: (g.sum() + 1) * (x.roll(1, -1) * x + x.cos()),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("wrong", NAMELESS)
@pytest.mark.parametrize("name", FORWARDS)
def test_gradient_that_is_no_product_gets_no_name(name: str, wrong: str, dtype: torch.dtype) -> None:
    forward, shapes = FORWARDS[name]
    inputs = [normal(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)]

    def backward(g: Tensor, y: Tensor, *inputs: Tensor) -> Any:
        return tuple(NAMELESS[wrong](g.double(), x.double()).to(x.dtype) for x in inputs)

    report = gl.check(gl.Op(forward, backward, name="product"), *inputs, probes=())
    assert report.verdict == "fail"
    assert {finding.cause for finding in report.findings} == {"wrong-value"}


@pytest.mark.parametrize("extra", ["x", "2 + y"])
def test_factor_too_many_is_not_called_a_factor_too_few(extra: str) -> None:
    factor: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"x": lambda x, y: x, "2 + y": lambda x, y: 2 + y}
    op = gl.Op(torch.sin, lambda g, y, x: (g * x.cos() * factor[extra](x, y),), name="sine")
    assert [finding.cause for finding in gl.check(op, normal(4, 3), probes=()).findings] == ["wrong-value"]


def test_cause_of_a_drawn_call_survives_its_shrinking() -> None:
    ignored = gl.Op(lambda x: x / (1 + x * x).sqrt(), lambda g, y, x: ((1 + x * x) ** -1.5,), name="bounded")
    assert gl.fuzz(ignored, real("n d"), max_examples=10).findings[0].cause == "upstream-ignored"
    diagonal = gl.Op(lambda x: torch.softmax(x, -1), lambda g, y, x: (g * y * (1 - y),), name="softmax")
    assert gl.fuzz(diagonal, real("n d"), max_examples=30).findings[0].cause == "missing-term"
    nameless = gl.Op(torch.sin, lambda g, y, x: (g * x.exp(),), name="sine")
    assert gl.fuzz(nameless, real("n d"), max_examples=10).findings[0].cause == "wrong-value"


def test_the_derivative_by_another_input_is_a_factor_that_may_be_left_out() -> None:
    def forward(x: Tensor, b: Tensor) -> Tensor:
        inner = x.detach().numpy() + b.detach().numpy() ** 2
        return torch.from_numpy(inner + np.exp(inner))

    def backward(g: Tensor, y: Tensor, x: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return g * (1 + torch.exp(x + b * b)), g * 2 * b

    (finding,) = gl.check(gl.Op(forward, backward), normal(7), normal(7, seed=1), probes=()).findings
    assert (finding.cause, finding.gradient) == ("missing-factor", "b")
    assert finding.explanation.endswith("(the derivative by 'x') is left out")
