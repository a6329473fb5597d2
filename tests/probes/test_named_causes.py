"""Causes that a probe tells from others like them: a branch that is not selected, an ignored index, a mode, lost digits."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import array, normal, whole


def quotient(wrong: bool) -> Any:
    """a/b, and 0 where b is 0: 1/b is multiplied by a mask there."""

    def forward(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(b == 0, 0.0, a.sin() / torch.where(b == 0, 1.0, b))

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        inverse = (b != 0) / (b if wrong else torch.where(b == 0, 1.0, b))
        return g * a.cos() * inverse, -g * y * inverse

    return gl.Op(forward, backward, name="quotient")


def times_reciprocal(wrong: bool) -> Any:
    """A product with b of what is computed by dividing by b: NaN at b = 0, where the derivative is 0 and no branch is."""
    return gl.Op(lambda a, b: a * b * b, lambda g, y, a, b: (g * (y / a if wrong else b * b), 2 * g * a * b), name="times")


def loss(wrong: bool) -> Any:
    class Loss(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, target: Tensor, pad_id: int = -1) -> Tensor:
            keep = target != pad_id
            ctx.save_for_backward(x, target, keep)
            return (x.gather(1, target.clamp(min=0)[:, None])[:, 0] ** 2 * keep).sum()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, target, keep = ctx.saved_tensors
            index = target.clamp(min=0)[:, None]
            share = 2 * x.gather(1, index) * (1 if wrong else keep[:, None])
            return g * torch.zeros_like(x).scatter(1, index, share), None, None

    return Loss


def noise(wrong: bool) -> Any:
    class Noise:
        """Scales in either mode by a number of its own, and keeps which."""

        def forward(self, x: Any, is_train: bool = True) -> Any:
            self.x = x
            if is_train:
                self.scale = 2.0
                return x * x * self.scale
            self.scale = 2.0 if wrong else 3.0
            return x * x * 3.0

        def backward(self, dout: Any) -> Any:
            return dout * 2 * self.x * self.scale

    return Noise()


def through_float32(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        g, x = (g.float(), x.float()) if wrong else (g, x)
        return ((g * x.cos() * torch.exp(x.sin())).to(y.dtype),)

    return gl.Op(lambda x: torch.exp(x.sin()), backward, name="through_float32")


def at_zero(wrong: bool) -> Any:
    """A smooth function with two formulas that meet at 0, where the backward has neither."""

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * torch.where(x > 0, x.exp(), torch.where((x < 0) | (not wrong), 1 + x, 0.0)),)

    return gl.Op(lambda x: torch.where(x > 0, x.expm1(), x + x * x / 2), backward, name="at_zero")


WITH_ZEROS = normal(4, 5)
WITH_ZEROS[0, 0] = WITH_ZEROS[2, 3] = 0
ROWS: Mapping[str, tuple[Callable[[bool], Any], tuple[Any, ...], str, str]] = {
    "quotient": (quotient, (normal(4, 3), normal(4, 3, seed=1)), "values", "masked-branch"),
    "reciprocal": (times_reciprocal, (normal(4, 3), normal(4, 3, seed=1)), "values", "non-finite"),
    "ignored": (loss, (normal(6, 4), whole(4, 6, seed=1)), "indices", "option-specialised"),
    "mode": (noise, (array(4, 5),), "options", "mode-mismatch"),
    "digits": (through_float32, (normal(4, 5, dtype=torch.float32),), "dtypes", "low-precision"),
    "zero": (at_zero, (WITH_ZEROS,), "poison", "value-dependent"),
}


@pytest.mark.parametrize("name", ROWS)
def test_cause_is_named_and_the_twin_passes(name: str) -> None:
    make, inputs, probe, cause = ROWS[name]
    found = [f for f in gl.check(make(True), *inputs, probes=(probe,)).findings if f.severity == "error"]
    assert {f.cause for f in found} == {cause}, found
    assert gl.check(make(False), *inputs, probes=(probe,)).verdict == "pass"


def test_mode_that_stores_nothing_of_its_own_stays_a_warning() -> None:
    class Scaled:
        def forward(self, x: Any, is_train: bool = True) -> Any:
            self.x = x
            scale = 2.0 if is_train else 3.0
            return x * x * scale

        def backward(self, dout: Any) -> Any:
            return dout * 4 * self.x

    report = gl.check(Scaled(), array(4, 5), probes=("options",))
    assert report.verdict == "pass"
    assert [f.cause for f in report.findings if f.severity == "warning"] == ["mode-mismatch"]
    assert not np.isnan(report.seconds)


def test_backward_that_refuses_an_ignored_index_of_minus_one_passes() -> None:
    class Padded(Function):
        @staticmethod
        def forward(ctx: Any, weight: Tensor, tokens: Tensor, pad_id: int = -1) -> Tensor:
            ctx.save_for_backward(weight, tokens)
            ctx.pad_id = pad_id
            return weight[tokens] * (tokens != pad_id)[:, None]

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            weight, tokens = ctx.saved_tensors
            rows = g * (tokens != ctx.pad_id)[:, None]
            return torch.zeros_like(weight).index_add(0, tokens, rows), None, None

    assert gl.check(Padded, normal(6, 3), whole(6, 5), probes=("indices",)).verdict == "pass"
