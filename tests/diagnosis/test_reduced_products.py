"""TF32 is named where it is on and leaves an error of its size, on a GPU alone."""

import pytest
import torch

from gradcheck_lab.diagnosis.reduced_products import reduced

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64


@pytest.mark.parametrize(
    ("device", "dtype", "level", "precision", "named"),
    [
        ("cuda", F32, F16, "high", True),
        ("cuda", F32, F16, "medium", True),
        ("cuda", F32, F16, "highest", False),
        ("cuda", F32, BF16, "high", False),
        ("cuda", F64, F16, "high", False),
        ("cpu", F32, F16, "high", False),
    ],
)
def test_tf32_is_named_where_it_explains_the_error(
    device: str, dtype: torch.dtype, level: torch.dtype, precision: str, named: bool
) -> None:
    assert ("TF32" in reduced(device, dtype, level, precision)) is named
