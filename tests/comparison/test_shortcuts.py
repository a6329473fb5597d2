"""What settles a gradient sooner says the same as the budget itself."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_lab.comparison.budget import certainly_passes, judge, passes
from tests.lanes import examples

SHAPES = st.sampled_from([(1,), (7,), (4, 3), (1, 5), (5, 1), (2, 3, 4), (30, 20)])
DTYPES = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.complex128])


@examples(300)
@given(
    shape=SHAPES,
    dtype=DTYPES,
    size=st.floats(-1, 4),
    spread=st.floats(0, 6),
    biased=st.booleans(),
    seed=st.integers(0, 999),
)
@pytest.mark.parametrize("margin", [1.0, 10.0])
def test_shortcuts_agree_with_the_budget(
    shape: tuple[int, ...], dtype: torch.dtype, size: float, spread: float, biased: bool, seed: int, margin: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    truth = torch.randn(shape, generator=generator, dtype=wide)
    truth = truth * 10.0 ** (-spread * torch.rand(shape, generator=generator, dtype=torch.float64))
    noise = truth if biased else torch.randn(shape, generator=generator, dtype=wide)
    eps = torch.finfo(dtype).eps
    actual = (truth + 10.0**size * eps * noise).to(dtype)
    judged = judge(actual, truth, dtype, margin=margin)
    if certainly_passes(actual, truth, dtype, 0.0, margin):
        assert judged.passed, judged
    assert passes(actual, truth, dtype, 16) == judge(actual, truth, dtype, roundings=16).passed
