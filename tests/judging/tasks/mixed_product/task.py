"""A product of two matrices and a residual, for which single precision is enough whatever the inputs."""

import torch

from gradcheck_lab.specs import real

specs = (real("n k"), real("k m"), real("n m"))
dtypes = (torch.float64, torch.float32)
tolerance_dtype = torch.float32


def reference(a, b, residual):
    return a @ b + residual
