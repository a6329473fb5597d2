"""What a Function may ask of torch: frozen inputs, several outputs, None upstreams, writing in place, views."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

# mypy: disable-error-code="override"


class Embedding(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = weight.shape[0]
        return weight[index]

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (index,) = ctx.saved_tensors
        flat = grad_output.reshape(-1, grad_output.shape[-1])
        grad = flat.new_zeros(ctx.rows, flat.shape[-1])
        return grad.index_add_(0, index.reshape(-1), flat), None


class EmbeddingAssigned(Embedding):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (index,) = ctx.saved_tensors
        grad = grad_output.new_zeros(ctx.rows, grad_output.shape[-1])
        grad[index] = grad_output
        return grad, None


class MatmulWhereNeeded(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
        ctx.save_for_backward(a if ctx.needs_input_grad[1] else None, b if ctx.needs_input_grad[0] else None)
        return a @ b if bias is None else a @ b + bias

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        a, b = ctx.saved_tensors
        grad_a = grad_output @ b.T if ctx.needs_input_grad[0] else None
        grad_b = a.T @ grad_output if ctx.needs_input_grad[1] else None
        return grad_a, grad_b, grad_output.sum(0) if ctx.needs_input_grad[2] else None


class MatmulSwapped(MatmulWhereNeeded):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        grad_a, grad_b, _ = MatmulWhereNeeded.backward(ctx, grad_output)
        return grad_a, grad_b, None


class CubeOnce(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x * x * grad_output


class CubeOnceTwice(CubeOnce):
    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * x * grad_output


class PolarParts(Function):
    """Several outputs, one an integer and one floating that has no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        radius, angle = torch.hypot(x, y), torch.atan2(y, x)
        quadrant, largest = (angle > 0).long(), radius.max()
        ctx.mark_non_differentiable(quadrant, largest)
        ctx.save_for_backward(x, y, radius)
        return radius, angle, quadrant, largest

    @staticmethod
    def backward(ctx: Any, grad_radius: Tensor, grad_angle: Tensor, _: Tensor, grad_largest: Tensor) -> Any:
        x, y, r = ctx.saved_tensors
        grad_x = grad_radius * x / r - grad_angle * y / r**2
        return grad_x + grad_largest, grad_radius * y / r + grad_angle * x / r**2


class PolarPartsRadiusOnly(PolarParts):
    @staticmethod
    def backward(ctx: Any, grad_radius: Tensor, grad_angle: Tensor, _: Tensor, grad_largest: Tensor) -> Any:
        grad_x, _ = PolarParts.backward(ctx, grad_radius, grad_angle, _, grad_largest)
        return grad_x, grad_radius * ctx.saved_tensors[1] / ctx.saved_tensors[2]


class SinCosUnmaterialized(Function):
    """Asks for None instead of zeros; its last output never has an upstream."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        peak = x.argmax()
        ctx.mark_non_differentiable(peak)
        return x.sin(), x.cos(), peak

    @staticmethod
    def backward(ctx: Any, grad_sin: Tensor | None, grad_cos: Tensor | None, grad_peak: Tensor | None) -> Tensor | None:
        assert grad_peak is None
        (x,) = ctx.saved_tensors
        parts = [g * d for g, d in ((grad_sin, x.cos()), (grad_cos, -x.sin())) if g is not None]
        return sum(parts) if parts else None  # type: ignore[return-value]


class SinCosDropped(SinCosUnmaterialized):
    @staticmethod
    def backward(ctx: Any, grad_sin: Tensor | None, grad_cos: Tensor | None, grad_peak: Tensor | None) -> Tensor | None:
        return SinCosUnmaterialized.backward(ctx, grad_sin, None, grad_peak)


class ScaleInPlace(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        ctx.mark_dirty(x)
        return x.mul_(factor)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return grad_output * ctx.factor, None


class ScaleInPlaceUnscaled(ScaleInPlace):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return grad_output.clone(), None


class Flatten(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.view(-1)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output.view(ctx.shape)


class FlattenTransposed(Flatten):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output.view(ctx.shape[::-1]).T


class SumOfMany(Function):
    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.count = len(parts)
        return torch.stack(parts).sum(0)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return tuple(grad_output for _ in range(ctx.count))


class SumOfManyDoubled(SumOfMany):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return (grad_output, 2 * grad_output, *(grad_output for _ in range(ctx.count - 2)))
