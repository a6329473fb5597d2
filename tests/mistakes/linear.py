"""Mistakes in the backward of linear: `dx = g W,  dW = gᵀ x,  db = Σ g over the batch`."""

import torch

from gradcheck_lab.ops import linear
from tests.mistakes import Planted, changed, scaled

Tensor = torch.Tensor
Three = tuple[Tensor, Tensor, Tensor]


def batches(grad_output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The upstream and the input as matrices: one row per element of the batch."""
    return grad_output.reshape(-1, grad_output.shape[-1]), x.reshape(-1, x.shape[-1])


def transposed_weight_gradient(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Three:
    g, rows = batches(grad_output, x)
    return grad_output @ weight, rows.T @ g, g.sum(0)


def weight_not_transposed_back(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Three:
    g, rows = batches(grad_output, x)
    return grad_output @ weight.T, g.T @ rows, g.sum(0)


def unsummed_bias(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Three:
    g, rows = batches(grad_output, x)
    return grad_output @ weight, g.T @ rows, grad_output


def bias_with_kept_dimension(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Three:
    g, rows = batches(grad_output, x)
    return grad_output @ weight, g.T @ rows, g.sum(0, keepdim=True)


def bias_summed_over_outputs(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Three:
    g, rows = batches(grad_output, x)
    return grad_output @ weight, g.T @ rows, g.sum(1)


def swapped(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Three:
    g, rows = batches(grad_output, x)
    return g.T @ rows, grad_output @ weight, g.sum(0)


def first_row_only(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Three:
    g, rows = batches(grad_output, x)
    return grad_output @ weight, g[:1].T @ rows[:1], g.sum(0)


MISTAKES = (
    Planted("wrong-sign", linear, scaled(linear, 0, lambda *inputs: -1), {"x": "sign"}),
    Planted("wrong-sign-of-weight", linear, scaled(linear, 1, lambda *inputs: -1), {"weight": "sign"}),
    Planted("wrong-sign-of-bias", linear, scaled(linear, 2, lambda *inputs: -1), {"bias": "sign"}),
    Planted("transposed-weight", linear, transposed_weight_gradient, {"weight": "transposed"}),
    Planted("transposed-square-weight", linear, transposed_weight_gradient, {"weight": "transposed"}, sizes={"d_out": "d_in"}),
    Planted("weight-not-transposed-back", linear, weight_not_transposed_back, {"x": "wrong-operand"}, sizes={"d_out": "d_in"}),
    Planted("unsummed-bias", linear, unsummed_bias, {"bias": "missing-broadcast-sum"}),
    Planted("bias-with-kept-dimension", linear, bias_with_kept_dimension, {"bias": "wrong-shape"}),
    Planted("bias-summed-over-outputs", linear, bias_summed_over_outputs, {"bias": "wrong-axis"}, sizes={"b": "d_out"}),
    Planted(
        "mean-of-bias",
        linear,
        scaled(linear, 2, lambda x, weight, bias: 1 / x.shape[:-1].numel()),
        {"bias": "constant-factor"},
    ),
    Planted(
        "swapped", linear, swapped, {"x": "slots-swapped", "weight": "slots-swapped"}, sizes={"d_out": "d_in", "b": "d_in"}
    ),
    Planted("first-row-only", linear, first_row_only, {"weight": "wrong-value"}),
    Planted("no-weight", linear, changed(linear, 1, lambda grad: None), {"weight": "missing-gradient"}),
    Planted("zero-bias", linear, changed(linear, 2, torch.zeros_like), {"bias": "zero-gradient"}),
)
