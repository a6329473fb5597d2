"""Softplus with a sharpness beta: log(1 + exp(beta x)) / beta."""

import torch

from gradcheck_lab.specs import real

specs = (real("*batch d"),)
options = {"beta": 2.0}
forbidden = ("aten.softplus", "aten.softplus_backward", "aten.logaddexp", "aten.log_sigmoid", "aten.log_sigmoid_forward")


def reference(x, beta=2.0):
    z = beta * x
    return (z.clamp(min=0) + torch.log1p(torch.exp(-z.abs()))) / beta
