"""PReLU with one slope per channel."""

import torch

from gradcheck_lab.specs import real

specs = (real("n c"), real("c"))
forbidden = ("aten.prelu", "aten._prelu_kernel", "aten._prelu_kernel_backward", "aten.leaky_relu", "aten.leaky_relu_backward")


def reference(x, slope):
    return torch.where(x > 0, x, slope * x)
