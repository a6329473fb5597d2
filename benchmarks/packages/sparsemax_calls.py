"""sparsemax: the projection onto the simplex."""

import torch
from sparsemax.sparsemax import SparsemaxFunction

import gradcheck_lab as gl

torch.manual_seed(0)


class SparsemaxOfThreeDimensions(SparsemaxFunction):
    """Along an axis in the middle."""


if __name__ == "__main__":
    gl.check(SparsemaxFunction, torch.randn(4, 5, dtype=torch.float64), -1)
    gl.check(SparsemaxOfThreeDimensions, torch.randn(2, 3, 5, dtype=torch.float64), 1)
