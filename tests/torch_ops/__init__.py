"""What torch has for each of our ops, one family a file: `TORCH` maps an op to a function of the same inputs and options."""

from collections.abc import Callable
from typing import Any

from gradcheck_lab.op import Op
from tests.torch_ops import (
    activations,
    arithmetic,
    batch_norm,
    contractions,
    convolution,
    elementwise,
    extremes,
    indexing,
    joining,
    linear,
    losses,
    moments,
    moving,
    normalisation,
    norms,
    powers,
    products,
    selection,
    shapes,
    smooth_activations,
    softmax,
    sums,
)

TORCH: dict[Op, Callable[..., Any]] = {
    **convolution.TORCH,
    **indexing.TORCH,
    **moving.TORCH,
    **joining.TORCH,
    **shapes.TORCH,
    **contractions.TORCH,
    **batch_norm.TORCH,
    **normalisation.TORCH,
    **softmax.TORCH,
    **norms.TORCH,
    **extremes.TORCH,
    **moments.TORCH,
    **sums.TORCH,
    **products.TORCH,
    **powers.TORCH,
    **selection.TORCH,
    **elementwise.TORCH,
    **smooth_activations.TORCH,
    **activations.TORCH,
    **arithmetic.TORCH,
    **linear.TORCH,
    **losses.TORCH,
}
