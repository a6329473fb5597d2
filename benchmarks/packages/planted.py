"""Plant a mistake in sound backwards of published packages, by a subclass, and print what `check` says of each copy.

Run it by the interpreter of the environment that `run.py` makes: `environment/bin/python benchmarks/packages/planted.py`.
"""

from __future__ import annotations

from typing import Any

import numpy_of_then  # noqa: F401 # isort: skip
import dezero.functions as dezero
import dezero_calls
import kornia_calls
import torch
from arrays import OnArrays
from dezero import Variable
from e3nn.math._soft_unit_step import _SoftUnitStep as SoftUnitStep
from entmax.activations import SparsemaxFunction
from entmax.losses import SparsemaxLossFunction
from gpytorch.variational.large_batch_variational_strategy import QuadFormDiagonal
from gpytorch.variational.variational_strategy import ComputePredictiveUpdates
from gpytorch_calls import CHOLESKY, COLUMNS, SPD, VECTOR
from kornia.losses.focal import _TargetLogSoftmax as TargetLogSoftmax
from pypose.lietensor.operation import SO3_Act, so3_Exp
from timm_calls import HardSwish, Swish
from torchcomp_calls import DECAY, ONE_STATE, SIGNAL
from torchlpc.recurrence import Recurrence

import gradcheck_lab as gl

torch.manual_seed(0)
X = 3 * torch.randn(4, 5, dtype=torch.float64)


class SwishOfTheGateAlone(Swish):  # the gate's own derivative is left out
    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        return grad_output * torch.sigmoid(ctx.saved_tensors[0])


class HardSwishLikeRelu(HardSwish):  # 1 where the ramp is
    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        return grad_output * (ctx.saved_tensors[0] >= -3)


class SparsemaxWithoutMean(SparsemaxFunction):
    @classmethod
    def backward(cls, ctx: Any, grad_output: torch.Tensor) -> Any:
        return grad_output * (ctx.saved_tensors[1] != 0), None, None


class SparsemaxLossWithoutUpstream(SparsemaxLossFunction):
    @classmethod
    def backward(cls, ctx: Any, grad_output: torch.Tensor) -> Any:
        return super().backward(ctx, torch.ones_like(grad_output))


class QuadFormOfOneSide(QuadFormDiagonal):  # the form is of second degree in rhs
    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> Any:
        by_matrix, by_rhs = QuadFormDiagonal.backward(ctx, grad_output)
        return by_matrix, by_rhs / 2


class UpdatesTransposed(ComputePredictiveUpdates):
    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        by_chol, by_covar, by_middle, by_values = ComputePredictiveUpdates.backward(ctx, *grad_outputs)
        return by_chol.mT, by_covar, by_middle, by_values


class LogSoftmaxWithoutMask(TargetLogSoftmax):  # positions that do not count get a gradient
    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> Any:
        pred, target, valid, _, _ = ctx.saved_tensors
        x = torch.where(valid, pred, 0.0)
        return (x.softmax(1) * -grad_output).scatter_add(1, target, grad_output), None, None


class StepWithoutInnerDerivative(SoftUnitStep):
    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, torch.exp(-1 / x), 0.0) * grad_output


class RecurrenceNotShifted(Recurrence):  # the state before each step is what the decay multiplies
    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> Any:
        _, state, out = ctx.saved_tensors
        by_decay, by_impulse, by_state = Recurrence.backward(ctx, grad_output)
        shifted = torch.cat([state.unsqueeze(1), out[:, :-1]], 1)
        return by_decay * out / shifted, by_impulse, by_state


class ExpWithoutJacobian(so3_Exp):  # right at zero alone
    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        return grad_output[..., :-1]


def rotated_without_jacobian(w: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return SO3_Act.apply(ExpWithoutJacobian.apply(w), points)


class SigmoidOfOneFactor(dezero.Sigmoid):
    def backward(self, gy: Any) -> Any:
        return gy * self.outputs[0]()


def sigmoid_of_one_factor(x: Any) -> Any:
    return SigmoidOfOneFactor()(x)


class BatchNormWithoutMean(dezero.BatchNorm):
    def backward(self, gy: Any) -> Any:
        gx, ggamma, gbeta = super().backward(gy)
        return gx + gbeta * self.inputs[1] * self.inv_std / len(gy), ggamma, gbeta


def batch_norm_without_mean(x: Any, gamma: Any, beta: Any) -> Any:
    zeros, ones = dezero_calls.np.zeros(5), dezero_calls.np.ones(5)
    return BatchNormWithoutMean(zeros, ones, 0.9, 2e-5)(x, gamma, beta)


CASES = (
    (SwishOfTheGateAlone, (X,)),
    (HardSwishLikeRelu, (X,)),
    (SparsemaxWithoutMean, (X, -1)),
    (SparsemaxLossWithoutUpstream, (X, torch.tensor([0, 2, 1, 4]))),
    (QuadFormOfOneSide, (SPD, COLUMNS)),
    (UpdatesTransposed, (CHOLESKY, COLUMNS, SPD, VECTOR)),
    (LogSoftmaxWithoutMask, (kornia_calls.LOGITS, kornia_calls.TARGET, kornia_calls.VALID)),
    (StepWithoutInnerDerivative, (X,)),
    (RecurrenceNotShifted, (DECAY, SIGNAL, ONE_STATE)),
    (rotated_without_jacobian, (X[:, :3], X[:, 1:4])),
    (OnArrays(sigmoid_of_one_factor, Variable), (dezero_calls.X,)),
    (OnArrays(batch_norm_without_mean, Variable), (dezero_calls.X, dezero_calls.ROW, dezero_calls.ROW)),
)


def name_of(subject: Any) -> str:
    """What stands in the table for a Function, a function, or one on arrays."""
    return subject.function.__name__ if isinstance(subject, OnArrays) else subject.__name__


def main() -> None:
    caught = 0
    for subject, inputs in CASES:
        report = gl.check(subject, *inputs)
        causes = sorted({f"{finding.gradient}: {finding.cause}" for finding in report.findings if finding.severity == "error"})
        caught += report.verdict == "fail"
        print("|", name_of(subject), "|", report.verdict, "|", ", ".join(causes), "|", flush=True)
    print(f"{caught} of {len(CASES)} caught")


if __name__ == "__main__":
    main()
