"""Group normalisation in two groups of channels."""

import torch

from gradcheck_lab.specs import real

specs = (real("n 2c l"), real("2c"), real("2c"))
options = {"groups": 2, "eps": 1e-5}
forbidden = ("aten.group_norm", "aten.native_group_norm", "aten.native_group_norm_backward", "aten.native_batch_norm")


def reference(x, weight, bias, groups=2, eps=1e-5):
    grouped = x.reshape(x.shape[0], groups, (x.shape[1] // groups) * x.shape[2])
    centred = grouped - grouped.mean(-1, keepdim=True)
    normal = centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps)
    return normal.reshape(x.shape) * weight[:, None] + bias[:, None]
