"""A bilinear form for each output: xᵀ W y."""

import torch

from gradcheck_lab.specs import real

specs = (real("n i"), real("o i j"), real("n j"))
forbidden = ("aten.bilinear", "aten._trilinear")


def reference(x, weight, y):
    return torch.einsum("ni,oij,nj->no", x, weight, y)
