"""kornia: the log-probability of the target class, and a differentiable null space."""

import torch
from kornia.geometry.epipolar.essential import _NullSpaceBasis as NullSpaceBasis
from kornia.losses.focal import _TargetLogSoftmax as TargetLogSoftmax

import gradcheck_lab as gl

torch.manual_seed(0)
LOGITS, TARGET = torch.randn(4, 5, 3, dtype=torch.float64), torch.randint(0, 5, (4, 1, 3))
VALID = torch.rand(4, 1, 3) > 0.3
DESIGN = torch.randn(2, 6, 9, dtype=torch.float64)


class TargetLogSoftmaxWhereValid(TargetLogSoftmax):
    """With positions that are left out."""


def projection(design):
    """Onto the null space: the basis itself is not unique."""
    basis = NullSpaceBasis.apply(design)[0]
    return basis @ basis.mT


if __name__ == "__main__":
    gl.check(TargetLogSoftmax, LOGITS, TARGET, None)
    gl.check(TargetLogSoftmaxWhereValid, LOGITS, TARGET, VALID)
    gl.check(projection, DESIGN)
