"""gpytorch: kernels, the log of the normal distribution, and steps of variational inference."""

import torch
from gpytorch.functions._log_normal_cdf import LogNormalCDF
from gpytorch.functions.matern_covariance import MaternCovariance
from gpytorch.functions.rbf_covariance import RBFCovariance
from gpytorch.variational.large_batch_variational_strategy import QuadFormDiagonal
from gpytorch.variational.natural_variational_distribution import _NaturalToMuVarSqrt as NaturalToMuVarSqrt
from gpytorch.variational.tril_natural_variational_distribution import _TrilNaturalToMuVarSqrt as TrilNaturalToMuVarSqrt
from gpytorch.variational.variational_strategy import ComputePredictiveUpdates

import gradcheck_lab as gl

torch.manual_seed(0)
Z = 2 * torch.randn(4, 5, dtype=torch.float64)
X1, X2 = torch.randn(5, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
LENGTH = torch.tensor([[0.8]], dtype=torch.float64, requires_grad=True)
A = torch.randn(4, 4, dtype=torch.float64)
SPD = A @ A.T + 3 * torch.eye(4, dtype=torch.float64)
CHOLESKY = torch.linalg.cholesky(SPD)
VECTOR, COLUMNS = torch.randn(4, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)


def squared_distance(x1, x2):
    return (x1.unsqueeze(-2) - x2.unsqueeze(-3)).square().sum(-1)


def distance(x1, x2):
    return squared_distance(x1, x2).sqrt()


class Matern12(MaternCovariance):
    """nu = 0.5."""


class Matern32(MaternCovariance):
    """nu = 1.5."""


class Matern52(MaternCovariance):
    """nu = 2.5."""


if __name__ == "__main__":
    gl.check(LogNormalCDF, Z)
    gl.check(RBFCovariance, X1, X2, LENGTH, squared_distance)
    gl.check(Matern12, X1, X2, LENGTH, 0.5, distance)
    gl.check(Matern32, X1, X2, LENGTH, 1.5, distance)
    gl.check(Matern52, X1, X2, LENGTH, 2.5, distance)
    gl.check(QuadFormDiagonal, SPD, COLUMNS)
    gl.check(ComputePredictiveUpdates, CHOLESKY, COLUMNS, SPD, VECTOR)
    gl.check(NaturalToMuVarSqrt, VECTOR, -SPD / 2)
    gl.check(TrilNaturalToMuVarSqrt, VECTOR, CHOLESKY)
