"""Planted mistakes of numerics: NaN at a point, in a branch not taken, overflow, epsilons and precision."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.library import custom_op

import gradcheck_lab as gl
from tests.mistakes.registry import Table, normal, operator_name, positive

# mypy: disable-error-code="override"

table = Table()
X, Y, X32 = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, dtype=torch.float32)


@table("non-finite", "layer-cosine-similarity", X, Y)
def cosine_similarity(wrong: bool) -> Any:
    class Cosine:
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            self.a, self.b = a, b
            self.na = a.norm(dim=-1, keepdim=True) + 1e-6
            self.nb = b.norm(dim=-1, keepdim=True) + 1e-6
            self.similarity = (a * b).sum(-1, keepdim=True) / (self.na * self.nb)
            return self.similarity.squeeze(-1)

        def unit(self, v: Tensor) -> Tensor:
            length = v.norm(dim=-1, keepdim=True)
            return v / length if wrong else v / torch.where(length > 0, length, torch.ones_like(length))

        def backward(self, dout: Tensor) -> Any:
            g = dout.unsqueeze(-1)
            da = g * (self.b / (self.na * self.nb) - self.similarity / self.na * self.unit(self.a))
            db = g * (self.a / (self.na * self.nb) - self.similarity / self.nb * self.unit(self.b))
            return da, db

    return Cosine()


@table("non-finite", "setup-context-distance", X, Y)
def distance(wrong: bool) -> Any:
    class Distance(Function):
        @staticmethod
        def forward(a: Tensor, b: Tensor) -> Tensor:
            return torch.linalg.vector_norm(a - b, dim=-1)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            ctx.save_for_backward(*inputs, output)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            a, b, output = ctx.saved_tensors
            divisor = output if wrong else output.masked_fill(output == 0, torch.inf)
            grad = (grad_output / divisor).unsqueeze(-1) * (a - b)
            return grad, -grad

    return Distance


@table("non-finite", "pair-softsign-of-square", X)
def signed_root(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        # d/dx |x| x = 2 |x|
        return g * (2 * output / x if wrong else 2 * x.abs())

    return gl.Op(lambda x: x.abs() * x, backward, name="signed_square")


@table("masked-branch", "function-safe-divide", X, Y)
def safe_divide(wrong: bool) -> Any:
    class SafeDivide(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
            ctx.save_for_backward(a, b)
            return torch.where(b == 0, torch.zeros_like(a), a / torch.where(b == 0, torch.ones_like(b), b))

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            a, b = ctx.saved_tensors
            keep = (b != 0).to(a.dtype)
            if wrong:
                return grad_output * keep / b, -grad_output * keep * a / b**2
            inverse = keep / (b + (1 - keep))
            return grad_output * inverse, -grad_output * a * inverse**2

    return SafeDivide


@table("masked-branch", "layer-masked-root", X)
def root_of_relu(wrong: bool) -> Any:
    class Root:
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return torch.where(x > 0, (x.clamp(min=0) + 0.01).sqrt(), torch.zeros_like(x))

        def backward(self, dout: Tensor) -> Tensor:
            if wrong:
                return dout * (self.x > 0) / (2 * (self.x + 0.01).sqrt())
            return torch.where(self.x > 0, dout / (2 * (self.x.clamp(min=0) + 0.01).sqrt()), 0.0)

    return Root()


@table("masked-branch", "module-masked-entropy", positive(4, 3), (normal(4, 3, seed=3) > 0).double())
def masked_entropy(wrong: bool) -> Any:
    class Entropy(Function):
        @staticmethod
        def forward(ctx: Any, p: Tensor, mask: Tensor) -> Tensor:
            ctx.save_for_backward(p, mask)
            return torch.where(mask > 0, -p * p.clamp(min=1e-30).log(), torch.zeros_like(p)).sum(-1)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            p, mask = ctx.saved_tensors
            if wrong:
                return -grad_output.unsqueeze(-1) * (p.log() + 1) * mask, None
            inside = (mask > 0) & (p >= 1e-30)
            slope = torch.where(inside, p, torch.ones_like(p)).log() + torch.where(inside, 1.0, 0.0)
            below = torch.where((mask > 0) & (p < 1e-30), -torch.full_like(p, 1e-30).log(), torch.zeros_like(p))
            return grad_output.unsqueeze(-1) * (below - slope * inside), None

    class Module(nn.Module):
        def forward(self, p: Tensor, mask: Tensor) -> Any:
            # 0 where masked, as a padded batch has it
            return Entropy.apply(p * mask, mask.detach())

    return Module()


@table("overflow", "function-log-cosh", X32)
def log_cosh(wrong: bool) -> Any:
    class LogCosh(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.abs() + torch.log1p(torch.exp(-2 * x.abs())) - torch.log(torch.tensor(2.0, dtype=x.dtype))

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return grad_output * (torch.sinh(x) / torch.cosh(x) if wrong else torch.tanh(x))

    return LogCosh


@table("overflow", "custom-op-silu", X)
def silu(wrong: bool) -> Any:
    @custom_op(operator_name("silu"), mutates_args=())
    def op(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if wrong:
            e = torch.exp(x)
            return grad_output * e * (1 + e + x) / (1 + e) ** 2
        s = torch.sigmoid(x)
        return grad_output * (s + x * s * torch.sigmoid(-x))

    op.register_fake(lambda x: torch.empty_like(x))
    op.register_autograd(backward, setup_context=setup_context)
    return op


@table("overflow", "layer-binary-cross-entropy", X, (normal(4, 3, seed=2) > 0).double())
def cross_entropy_with_logits(wrong: bool) -> Any:
    class Loss:
        def forward(self, logits: Tensor, target: Tensor) -> Tensor:
            self.logits, self.target = logits, target
            return (logits.clamp(min=0) - logits * target + torch.log1p(torch.exp(-logits.abs()))).sum()

        def backward(self, dout: Tensor) -> Any:
            return dout * (torch.sigmoid(self.logits) - self.target), -dout * self.logits

    class Unstable(Loss):
        def backward(self, dout: Tensor) -> Any:
            e = self.logits.exp()
            return dout * (e / (1 + e) - self.target), -dout * self.logits

    return Unstable() if wrong else Loss()


@table("epsilon-mismatch", "function-rms-norm", X32, normal(3, seed=1, dtype=torch.float32))
def rms_norm(wrong: bool) -> Any:
    class RmsNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            return x * (x.square().mean(-1, keepdim=True) + 1e-10).rsqrt() * weight

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            mean_square = x.square().mean(-1, keepdim=True)
            rstd = 1 / (mean_square.sqrt() + 1e-10) if wrong else 1 / (mean_square + 1e-10).sqrt()
            unit, gw = x * rstd, grad_output * weight
            return rstd * (gw - unit * (gw * unit).mean(-1, keepdim=True)), (grad_output * unit).flatten(0, -2).sum(0)

    return RmsNorm


@table("epsilon-mismatch", "layer-log", positive(6, 5))
def log_with_epsilon(wrong: bool) -> Any:
    class Log:
        """The book's log, with the small number that keeps it from zero."""

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return torch.log(x if wrong else x + 1e-7)

        def backward(self, dout: Tensor) -> Tensor:
            return dout / (self.x + 1e-7)

    return Log()


@table("epsilon-mismatch", "pair-normalise", normal(6, 5))
def normalise_clamped(wrong: bool) -> Any:
    def forward(x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)

    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        length = x.norm(dim=-1, keepdim=True)
        size = length + 1e-12 if wrong else length.clamp(min=1e-12)
        radial = output * (g * output).sum(-1, keepdim=True)
        return (g - radial * (length >= 1e-12)) / size

    return forward, backward


@table("low-precision", "function-half-probabilities", normal(6, 5))
def half_probabilities(wrong: bool) -> Any:
    class Softmax(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = torch.softmax(x, -1)
            ctx.save_for_backward(y.half() if wrong else y)
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            y = ctx.saved_tensors[0].to(grad_output.dtype)
            return y * (grad_output - (y * grad_output).sum(-1, keepdim=True))

    return Softmax


@table("low-precision", "pair-kernel-float32", normal(6, 5))
def kernel_in_float32(wrong: bool) -> Any:
    def forward(x: Tensor) -> Tensor:
        # a kernel that computes in float32 by design has a backward of that precision too
        return torch.sin(x) if wrong else torch.sin(x.float()).to(x.dtype)

    return gl.Op(forward, lambda g, output, x: (g.float() * torch.cos(x.float())).to(x.dtype), name="sin")


@table("low-precision", "layer-bfloat16-accumulator", normal(33, 4, dtype=torch.float32))
def narrow_accumulator(wrong: bool) -> Any:
    class Scale:
        def __init__(self) -> None:
            self.gamma: Any = normal(4, seed=1, dtype=torch.float32)
            self.dgamma: Any = None

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return x * self.gamma  # type: ignore[no-any-return]

        def backward(self, dout: Tensor) -> Tensor:
            total = torch.zeros(dout.shape[-1], dtype=torch.bfloat16 if wrong else dout.dtype)
            for row in dout * self.x:
                total = (total + row).to(total.dtype)
            self.dgamma = total.to(dout.dtype)
            return dout * self.gamma  # type: ignore[no-any-return]

    return Scale()


ROWS = table.rows
