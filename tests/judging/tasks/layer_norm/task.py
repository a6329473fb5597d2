"""Layer normalisation over the last dimension, with weight and bias."""

import torch

from gradcheck_lab.specs import real

specs = (real("n d"), real("d"), real("d"))
options = {"eps": 1e-5}
forbidden = ("aten.layer_norm", "aten.native_layer_norm", "aten.native_layer_norm_backward")


def reference(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps) * weight + bias
