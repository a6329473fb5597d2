"""GELU with the normal distribution function, elementwise."""

import torch

from gradcheck_lab.specs import real

specs = (real("*batch d"),)
forbidden = ("aten.gelu", "aten.gelu_backward")


def reference(x):
    return x * 0.5 * torch.erfc(-x * 0.7071067811865476)
