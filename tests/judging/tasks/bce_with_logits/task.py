"""Mean binary cross-entropy of logits and targets between 0 and 1; both get a gradient."""

import torch

from gradcheck_lab.specs import real

specs = (real("n d"), real("n d"))
forbidden = (
    "aten.binary_cross_entropy_with_logits", "aten.binary_cross_entropy", "aten.binary_cross_entropy_backward", "aten.softplus",
    "aten.log_sigmoid", "aten.log_sigmoid_forward", "aten.log_sigmoid_backward",
)


def reference(logits, target):
    return (logits.clamp(min=0) - logits * target + torch.log1p(torch.exp(-logits.abs()))).mean()
