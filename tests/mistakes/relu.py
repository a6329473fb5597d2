"""Mistakes in the backward of relu: `dx = g where x > 0, else 0`."""

import torch

from gradcheck_lab.ops import relu
from tests.mistakes import Planted, changed, scaled

Tensor = torch.Tensor


def unmasked(grad_output: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
    return (grad_output,)


def masked_by_upstream(grad_output: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
    return (torch.where(grad_output > 0, grad_output, 0),)


def other_side(grad_output: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
    return (torch.where(x < 0, grad_output, 0),)


def without_upstream(grad_output: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
    return ((x > 0).to(x.dtype),)


def mean_upstream(grad_output: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
    return (grad_output.mean() * (x > 0),)


MISTAKES = (
    Planted("wrong-sign", relu, scaled(relu, 0, lambda x: -1), {"x": "sign"}),
    Planted("divided-by-batch", relu, scaled(relu, 0, lambda x: 1 / len(x)), {"x": "constant-factor"}),
    Planted("unmasked", relu, unmasked, {"x": "missing-factor"}),
    Planted("masked-by-upstream", relu, masked_by_upstream, {"x": "wrong-value"}),
    Planted("other-side", relu, other_side, {"x": "wrong-value"}),
    Planted("without-upstream", relu, without_upstream, {"x": "wrong-value"}),
    Planted("mean-upstream", relu, mean_upstream, {"x": "wrong-value"}),
    Planted("flattened", relu, changed(relu, 0, lambda grad: grad.reshape(-1)), {"x": "wrong-shape"}),
    Planted("transposed", relu, changed(relu, 0, lambda grad: grad.transpose(0, 1)), {"x": "transposed"}),
    Planted("reversed", relu, changed(relu, 0, lambda grad: grad.flip(0)), {"x": "permuted"}),
    Planted("nothing", relu, changed(relu, 0, lambda grad: None), {"x": "missing-gradient"}),
    Planted("zeros", relu, changed(relu, 0, torch.zeros_like), {"x": "zero-gradient"}),
)
