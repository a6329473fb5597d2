"""entmax: sparse alternatives to softmax, their losses, and bisection, with backwards by hand."""

import torch
from entmax.activations import Entmax15Function, SparsemaxFunction
from entmax.losses import (
    Entmax15LossFunction,
    EntmaxBisectLossFunction,
    NormmaxBisectLossFunction,
    SparsemaxBisectLossFunction,
    SparsemaxLossFunction,
)
from entmax.root_finding import (
    BudgetBisectFunction,
    EntmaxBisectFunction,
    NormmaxBisectFunction,
    SparsemaxBisectFunction,
)

import gradcheck_lab as gl

torch.manual_seed(0)
X = torch.randn(4, 5, dtype=torch.float64)
FEW = X[:2]  # bisection is dear
LABELS = torch.tensor([0, 2, 1, 4])


class EntmaxBisectByAlpha(EntmaxBisectFunction):
    """With one alpha per row, which has a gradient."""


class BudgetBisectOfThreeDimensions(BudgetBisectFunction):
    """With a dimension of size 1 before the last."""


if __name__ == "__main__":
    gl.check(SparsemaxFunction, X, -1)
    gl.check(Entmax15Function, X, -1)
    gl.check(EntmaxBisectFunction, FEW, 1.5, -1)
    gl.check(EntmaxBisectByAlpha, X[:2, :3], torch.tensor([[1.3], [1.6]], dtype=torch.float64), -1)
    gl.check(SparsemaxBisectFunction, FEW, -1)
    gl.check(NormmaxBisectFunction, FEW, 2, -1, allow={"option-specialised"})  # alpha > 1, as its documentation says
    gl.check(BudgetBisectFunction, FEW, 2, -1)
    gl.check(BudgetBisectOfThreeDimensions, X[:2, None, :], 2, -1)
    gl.check(SparsemaxLossFunction, X, LABELS)
    gl.check(SparsemaxBisectLossFunction, FEW, LABELS[:2])
    gl.check(Entmax15LossFunction, X, LABELS)
    gl.check(EntmaxBisectLossFunction, FEW, LABELS[:2])
    gl.check(NormmaxBisectLossFunction, FEW, LABELS[:2])
