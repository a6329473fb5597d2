"""The Huber loss, summed: half the square within delta, linear beyond."""

import torch

from gradcheck_lab.specs import real

specs = (real("n d"), real("n d"))
options = {"delta": 0.5}
forbidden = (
    "aten.huber_loss", "aten.huber_loss_backward", "aten.smooth_l1_loss", "aten.smooth_l1_loss_backward", "aten.mse_loss",
)


def reference(prediction, target, delta=0.5):
    difference = (prediction - target).abs()
    return torch.where(difference <= delta, 0.5 * difference.square(), delta * (difference - 0.5 * delta)).sum()
