"""One Function each of e3nn, diffsort, pytorch-revgrad, pytorch_optimizer, POT and speechbrain."""

import torch
from by_file import module_at
from diffsort.functional import NormalCDF
from e3nn.math._soft_unit_step import _SoftUnitStep as SoftUnitStep
from ot.backend import TorchBackend
from pytorch_optimizer.loss.bi_tempered import ComputeNormalization
from pytorch_revgrad.functional import RevGrad

import gradcheck_lab as gl

torch.manual_seed(0)
X = torch.randn(4, 5, dtype=torch.float64)
SPD = X @ X.T + torch.eye(4, dtype=torch.float64)
ONE = torch.tensor(1.0, dtype=torch.float64)
MatrixSqrt = TorchBackend().MatrixSqrtFunction
# speechbrain itself imports torchaudio
QuaternionLinear = module_at("speechbrain", "nnet", "quaternion_networks", "q_ops.py").QuaternionLinearCustomBackward
QUATERNIONS = [torch.randn(*shape, dtype=torch.float64) for shape in ((5, 8), (2, 3), (2, 3), (2, 3), (2, 3), (12,))]
INPUT, REAL, FIRST, SECOND, THIRD, BIAS = QUATERNIONS


class RevGradStated(RevGrad):
    """The reversal of the gradient, which is meant, with a reference that states it."""


def reversed_gradient(x, alpha):
    return x.detach() * (1 + alpha.detach()) - alpha.detach() * x


def square_root(a):
    """Of a symmetric matrix made of a."""
    return MatrixSqrt.apply(a @ a.mT + torch.eye(len(a), dtype=a.dtype))


class ComputeNormalizationBelowOne(ComputeNormalization):
    """With a temperature below one, where bisection is used."""


if __name__ == "__main__":
    gl.check(SoftUnitStep, X)
    gl.check(NormalCDF, X, 0.7)
    gl.check(RevGrad, X, ONE, wrt=[0])
    gl.check(RevGradStated, X, ONE, reference=reversed_gradient, wrt=[0])
    gl.check(ComputeNormalization, X[:2, :3], 1.2, 60)
    gl.check(ComputeNormalizationBelowOne, X[:2, :3], 0.8, 60)
    gl.check(square_root, X[:, :4])
    gl.check(QuaternionLinear, INPUT, REAL, FIRST, SECOND, THIRD, BIAS)
