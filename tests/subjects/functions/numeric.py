"""Functions whose forward autograd follows wrongly, not at all, or in one dtype only."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

# mypy: disable-error-code="override"


class Entmax15ByBisection(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, iterations: int = 60) -> Tensor:
        z = z / 2
        low = z.max(-1, keepdim=True).values - 1
        width = torch.ones_like(low)
        for _ in range(iterations):
            width = width / 2
            middle = low + width
            mass = (z - middle).clamp(min=0).square().sum(-1, keepdim=True)
            low = torch.where(mass >= 1, middle, low)
        output = (z - low).clamp(min=0).square()
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (output,) = ctx.saved_tensors
        root = output.sqrt()
        mean = (grad_output * root).sum(-1, keepdim=True) / root.sum(-1, keepdim=True)
        return root * (grad_output - mean), None


class Entmax15WithoutMean(Entmax15ByBisection):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return ctx.saved_tensors[0].sqrt() * grad_output, None


class CubicRoot(Function):
    """y with y³ + y = x, by Newton's method; the backward is the implicit function theorem."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = torch.zeros_like(x)
            for _ in range(60):
                y = y - (y**3 + y - x) / (3 * y**2 + 1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return grad_output / (3 * y**2 + 1)


class CubicRootExplicit(CubicRoot):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return grad_output * (3 * y**2 + 1)


class BesselByNumpy(Function):
    """J0 by its power series in NumPy, its derivative -J1 likewise."""

    @staticmethod
    def series(x: np.ndarray, order: int) -> np.ndarray:
        term = (x / 2) ** order
        total = term.copy()
        for k in range(1, 25):
            term = -term * (x / 2) ** 2 / (k * (k + order))
            total += term
        return total

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.from_numpy(BesselByNumpy.series(x.detach().cpu().numpy(), 0))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return -grad_output * torch.from_numpy(BesselByNumpy.series(x.detach().numpy(), 1))


class BesselWithSign(BesselByNumpy):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return -BesselByNumpy.backward(ctx, grad_output)


class SinFloat32Only(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError(f"expected float32 and got {x.dtype}")
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_output * x.cos()


class SinFloat32Twice(SinFloat32Only):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return 2 * SinFloat32Only.backward(ctx, grad_output)
