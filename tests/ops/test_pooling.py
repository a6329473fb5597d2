"""Where a pooled gradient goes: to the winner alone, whatever the upstream, the ties and the windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gradcheck_lab import ops
from tests.ops.held import drawn
from tests.ops.torch_ops import TORCH


def gradients(x: torch.Tensor, upstream: torch.Tensor, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The hand-written gradient, and torch's."""
    leaf = x.clone().requires_grad_()
    (theirs,) = torch.autograd.grad(TORCH[ops.max_pool2d](leaf, **options), leaf, upstream)
    (ours,) = ops.max_pool2d.backward(upstream, ops.max_pool2d(x, **options), x, **options)
    return ours, theirs


@settings(max_examples=40)
@given(
    place=st.tuples(st.integers(0, 5), st.integers(0, 6)),
    value=st.sampled_from([torch.inf, -torch.inf, torch.nan]),
    options=st.fixed_dictionaries(
        {
            "kernel_size": st.sampled_from([1, 2, 3, (2, 3)]),
            "stride": st.sampled_from([None, 1, 2]),
            "padding": st.sampled_from([0, 1]),
            "dilation": st.sampled_from([1, 2]),
            "ceil_mode": st.booleans(),
        }
    ),
    tied=st.booleans(),
)
def test_what_is_not_finite_in_the_upstream_reaches_the_winner_alone(
    place: tuple[int, int], value: float, options: dict[str, Any], tied: bool
) -> None:
    x = drawn(2, 2, 6, 7)
    x = x.round() if tied else x
    assume(ops.max_pool2d.takes((x,), options))
    upstream = drawn(*ops.max_pool2d(x, **options).shape, seed=1)
    row, column = (at % size for at, size in zip(place, upstream.shape[-2:], strict=True))
    upstream[0, 1, row, column] = value
    ours, theirs = gradients(x, upstream, **options)
    assert int((~ours.isfinite()).sum()) == 1
    torch.testing.assert_close(ours, theirs, equal_nan=True)


@pytest.mark.parametrize("strides", ["expanded", "transposed"])
def test_max_pool2d_takes_any_strides(strides: str) -> None:
    x = drawn(2, 1, 5, 5).expand(2, 3, 5, 5) if strides == "expanded" else drawn(5, 5, 3, 2).permute(3, 2, 1, 0)
    upstream = torch.ones(()).double().expand(2, 3, 4, 4)
    torch.testing.assert_close(*gradients(x, upstream, kernel_size=2, stride=1))
