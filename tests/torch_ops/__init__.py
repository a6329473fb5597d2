"""What torch has for each of our ops, one family a file: `TORCH` maps an op to a function of the same inputs and options."""

from collections.abc import Callable
from typing import Any

from gradcheck_lab.op import Op
from tests.torch_ops import activations, arithmetic, linear, losses

TORCH: dict[Op, Callable[..., Any]] = {
    **activations.TORCH,
    **arithmetic.TORCH,
    **linear.TORCH,
    **losses.TORCH,
}
