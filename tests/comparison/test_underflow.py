"""Numbers below the smallest normal one of a dtype err by the spacing of those, times what they are multiplied with later."""

from __future__ import annotations

import pytest
import torch

import gradcheck_lab as gl

CALLS = {
    "float32": (torch.float32, -94.0, 500.0),
    "float32-less": (torch.float32, -98.0, 5e4),
    "float16": (torch.float16, -11.5, 50.0),
}


def weighted(shift, factor):
    """exp(x + shift) v, whose first factor is below the smallest normal number; the gradient of x is off by `factor`."""

    def function(x, v):
        value = x.clone()
        if value.requires_grad:
            value.register_hook(lambda grad: factor * grad)
        return ((value + shift).exp() * v).sum(0)

    return function


@pytest.mark.parametrize("name", CALLS)
def test_underflow_is_rounding_and_a_wrong_factor_is_none(name):
    dtype, shift, size = CALLS[name]
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(6, 4, generator=generator).to(dtype)
    v = (size * torch.randn(6, 4, generator=generator)).to(dtype)
    assert float((x + shift).exp().abs().median()) < torch.finfo(dtype).smallest_normal
    for factor, verdict in ((1.0, "pass"), (1.5, "fail"), (-1.0, "fail"), (0.0, "fail")):
        assert gl.check(weighted(shift, factor), x, v, probes=()).verdict == verdict, factor
