"""Backwards that tests of mutants edit."""

from __future__ import annotations

import os
import time
from typing import Any

import torch

import gradcheck_lab as gl


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        x, w = ctx.saved_tensors
        return g * w, (g * x).sum(0)


def relu_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Any:
    return (grad_output * (x > 0),)


def tanh_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, scale: torch.Tensor | None = None) -> Any:
    slope = 1 - x.tanh() ** 2
    if scale is not None:
        ratio = x.tanh() * grad_output
        return grad_output * slope * scale, ratio.sum_to_size(scale.shape)
    return (grad_output * slope,)


def ending_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Any:
    if 2 * 1.0 > 3:
        os._exit(3)
    return (grad_output,)


def hanging_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Any:
    if 2 * 1.0 > 3:
        time.sleep(60)
    return (grad_output,)


relu = gl.Op(torch.relu, relu_backward, name="relu")
scaled_tanh = gl.Op(lambda x, scale=None: torch.tanh(x) if scale is None else torch.tanh(x) * scale, tanh_backward, name="tanh")
ending = gl.Op(torch.clone, ending_backward, name="ending")
hanging = gl.Op(torch.clone, hanging_backward, name="hanging")
doubled = gl.Op(torch.relu, lambda grad_output, output, x: (2 * grad_output * (x > 0),), name="doubled")
