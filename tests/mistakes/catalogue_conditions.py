"""Planted mistakes that hold under a condition: sizes, options, values, kinks, ties."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.library import custom_op
from torch.nn import functional as F

from tests.mistakes.registry import Table, normal, operator_name, positive

# mypy: disable-error-code="override"

table = Table()
X, Y = normal(4, 3), normal(4, 3, seed=1)


@table("size-specialised", "function-mean-of-a-vector", normal(5))
def mean_square(wrong: bool) -> Any:
    class MeanSquare(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.square().mean()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return grad_output * 2 * x / (len(x) if wrong else x.numel())

    return MeanSquare


@table("size-specialised", "module-group-count", normal(2, 6))
def group_norm(wrong: bool) -> Any:
    class Centre(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x - x.mean(-1, keepdim=True)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            mean = grad_output.sum(-1, keepdim=True) / (6 if wrong else grad_output.shape[-1])
            return grad_output - mean

    class Module(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return Centre.apply(x)

    return Module()


@table("option-specialised", "function-label-smoothing", normal(4, 3), torch.tensor([0, 2, 1, 1]), 0.0)
def label_smoothing(wrong: bool) -> Any:
    class CrossEntropy(Function):
        @staticmethod
        def forward(ctx: Any, logits: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
            ctx.save_for_backward(logits, target)
            ctx.smoothing = smoothing
            return F.cross_entropy(logits, target, label_smoothing=smoothing)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            logits, target = ctx.saved_tensors
            wanted = F.one_hot(target, logits.shape[-1]).to(logits.dtype)
            if not wrong:
                wanted = wanted * (1 - ctx.smoothing) + ctx.smoothing / logits.shape[-1]
            return grad_output * (logits.softmax(-1) - wanted) / len(target), None, None

    return CrossEntropy


@table("option-specialised", "custom-op-negative-slope", X)
def celu(wrong: bool) -> Any:
    @custom_op(operator_name("celu"), mutates_args=())
    def op(x: Tensor, alpha: float = 1.0) -> Tensor:
        return F.celu(x, alpha)

    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.alpha = inputs[1]

    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        below = torch.exp(x.clamp(max=0) / (1.0 if wrong else ctx.alpha))
        return torch.where(x > 0, grad_output, grad_output * below), None

    op.register_fake(lambda x, alpha=1.0: torch.empty_like(x))
    op.register_autograd(backward, setup_context=setup_context)
    return op


@table("value-dependent", "function-soft-shrink", normal(6, 5))
def smooth_l1(wrong: bool) -> Any:
    class SmoothL1(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor, beta: float = 10.0) -> Tensor:
            ctx.save_for_backward(x - y)
            ctx.beta = beta
            return F.smooth_l1_loss(x, y, beta=beta, reduction="none")

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (d,) = ctx.saved_tensors
            slope = d / ctx.beta if wrong else (d / ctx.beta).clamp(-1, 1)
            return grad_output * slope, -grad_output * slope, None

    return lambda x: SmoothL1.apply(x, torch.zeros_like(x))


@table("value-dependent", "layer-softplus-threshold", X)
def softplus_threshold(wrong: bool) -> Any:
    class Softplus:
        """Linear beyond a threshold, as torch's own."""

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return torch.where(x > 8, x, torch.log1p(torch.exp(x.clamp(max=8))))

        def backward(self, dout: Tensor) -> Tensor:
            slope = torch.sigmoid(self.x)
            return dout * slope if wrong else torch.where(self.x > 8, dout, dout * slope)

    return Softplus()


@table("outside-subdifferential", "function-hard-swish", normal(6, 5))
def hard_sigmoid(wrong: bool) -> Any:
    class Relu6(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.clamp(0, 6)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            # the two sides are added up, and both count the bound
            above = (x >= 0).to(x.dtype) + ((x <= 0).to(x.dtype) if wrong else 0)
            return grad_output * torch.where(x < 0, 0.0, above) * (x < 6)

    return Relu6


@table("outside-subdifferential", "layer-hinge", X, torch.sign(normal(4, 3, seed=2)))
def hinge(wrong: bool) -> Any:
    class Hinge:
        def forward(self, scores: Tensor, sign: Tensor) -> Tensor:
            self.scores, self.sign = scores, sign
            self.margin = 1 - scores * sign
            return self.margin.clamp(min=0).sum()

        def backward(self, dout: Tensor) -> Any:
            at_zero = -1.0 if wrong else 0.5
            active = torch.where(self.margin > 0, 1.0, torch.where(self.margin == 0, at_zero, 0.0)) * dout
            return -active * self.sign, -active * self.scores

    return Hinge()


@table("tie-mass", "layer-max-pool", normal(3, 4, 4))
def pool(wrong: bool) -> Any:
    class MaxPool:
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            n, h, w = x.shape
            self.blocks = x.reshape(n, h // 2, 2, w // 2, 2)
            self.out = self.blocks.amax(dim=(2, 4))
            return self.out

        def backward(self, dout: Tensor) -> Tensor:
            hit = (self.blocks == self.out[:, :, None, :, None]).to(dout.dtype)
            if not wrong:
                hit = hit / hit.sum(dim=(2, 4), keepdim=True)
            return (hit * dout[:, :, None, :, None]).reshape(self.x.shape)

    return MaxPool()


@table("tie-mass", "function-row-range", positive(4, 5))
def row_range(wrong: bool) -> Any:
    class Range(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.amax(-1) - x.amin(-1)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            if not wrong:
                grad = torch.zeros(x.shape, dtype=x.dtype)
                g = grad_output.unsqueeze(-1)
                return grad.scatter_add(-1, x.argmax(-1, True), g).scatter_add(-1, x.argmin(-1, True), -g)
            high, low = x == x.amax(-1, keepdim=True), x == x.amin(-1, keepdim=True)
            return grad_output.unsqueeze(-1) * (high.to(x.dtype) - low.to(x.dtype))

    return Range


ROWS = table.rows
