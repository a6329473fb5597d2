"""Batch normalisation of rows by the statistics of the batch."""

import torch

from gradcheck_lab.specs import real

specs = (real("n d"), real("d"), real("d"))
options = {"eps": 1e-5}
forbidden = (
    "aten.batch_norm", "aten.native_batch_norm", "aten.native_batch_norm_backward", "aten._native_batch_norm_legit",
    "aten._batch_norm_impl_index", "aten._batch_norm_with_update", "aten.batch_norm_backward", "aten.cudnn_batch_norm",
)


def reference(x, gamma, beta, eps=1e-5):
    centred = x - x.mean(0)
    return centred * torch.rsqrt(centred.square().mean(0) + eps) * gamma + beta
