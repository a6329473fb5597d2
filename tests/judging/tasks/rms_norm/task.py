"""RMS normalisation over the last dimension, with a weight."""

import torch

from gradcheck_lab.specs import real

specs = (real("n d"), real("d"))
options = {"eps": 1e-5}
forbidden = ("aten.rms_norm", "aten._fused_rms_norm", "aten._fused_rms_norm_backward")


def reference(x, weight, eps=1e-5):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight
