"""Backwards whose gradients are right and whose own derivatives are wrong, zero or missing; each beside a sound twin."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op

from gradcheck_lab.ops import add, mul
from gradcheck_lab.rules.op import Op
from tests.mistakes.row import Mistake, Pair, normal

# mypy: disable-error-code="override"

Rule = Callable[..., Any]
X, Y = normal(4, 3), normal(4, 3, seed=1)
SILENT = "silently zero"


def tanh_slope(y: Tensor) -> Tensor:
    return 1 - y * y


class TanhOfIntermediate(Function):
    """What forward computed is a constant to whoever differentiates backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(tanh_slope(y))
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output * ctx.saved_tensors[0]


class TanhOfOutput(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output * tanh_slope(ctx.saved_tensors[0])


def function_of(forward: Rule, rule: Rule) -> type[Function]:
    """A Function that saves its inputs; `rule(grad_output, *inputs)` returns their gradients."""

    class Written(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Tensor:
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            return rule(grad_output, *ctx.saved_tensors)

    return Written


class SwishOnAttribute(Function):
    """The gate lives on ctx: half of the slope is differentiated, half of it is a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.gate = torch.sigmoid(x)
        ctx.save_for_backward(x)
        return x * ctx.gate

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output * (ctx.gate + ctx.saved_tensors[0] * ctx.gate * (1 - ctx.gate))


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def swish_rule(g: Tensor, x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return g * (gate + x * gate * (1 - gate))


def product_rule(g: Tensor, x: Tensor, y: Tensor) -> Any:
    return g * y.square(), 2 * g * x * y


def product(x: Tensor, y: Tensor) -> Tensor:
    return x * y.square()


def without_gradients(g: Tensor, x: Tensor) -> Tensor:
    with torch.no_grad():
        return swish_rule(g, x)


class CubeSlope(Function):
    """3 g x², with a backward of its own."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(g, x)
        return 3 * g * x * x

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:
        g, x = ctx.saved_tensors
        return 3 * x * x * v, 6 * x * g * v


class CubeSlopeOnceMore(CubeSlope):
    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:
        g, x = ctx.saved_tensors
        return 3 * x * x * v, 3 * x * g * v


class CubeSlopeTwice(CubeSlope):
    """Third derivatives are refused; the second is there."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v: Tensor) -> Any:
        g, x = ctx.saved_tensors
        return 3 * x * x * v, 6 * x * g * v


def custom(name: str, forward: Rule, rule: Rule, save: Rule) -> Any:
    """A custom op of one input; `save(x, y)` are the tensors that `rule(g, *saved)` gets."""

    def kernel(x: Tensor) -> Tensor:
        return torch.from_numpy(forward(x.detach().numpy())) if forward is np.tanh else forward(x)

    made = custom_op(f"second_order::{name}", kernel, mutates_args=(), schema="(Tensor x) -> Tensor")
    made.register_autograd(
        lambda ctx, g: rule(g, *ctx.saved_tensors),
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*save(inputs[0], output)),
    )
    return made


TANH_OF_SLOPE = custom("tanh_of_slope", torch.tanh, lambda g, slope: g * slope, lambda x, y: (tanh_slope(y),))
TANH_OF_OUTPUT = custom("tanh_of_output", torch.tanh, lambda g, y: g * tanh_slope(y), lambda x, y: (y,))
TANH_NUMPY_DETACHED = custom("tanh_numpy_detached", np.tanh, lambda g, y: g * tanh_slope(y.detach()), lambda x, y: (y,))
TANH_NUMPY = custom("tanh_numpy", np.tanh, lambda g, y: g * tanh_slope(y), lambda x, y: (y,))


class Gated(torch.nn.Module):
    def __init__(self, inner: type[Function]) -> None:
        super().__init__()
        self.inner = inner
        self.weight = torch.nn.Parameter(normal(3, 3, seed=2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.inner.apply(x @ self.weight))


def ops_of(wrong: Rule) -> Callable[[], Pair]:
    """Ops of tanh, each rule a function of `g`, the output and the input."""
    return lambda: (Op(torch.tanh, wrong), Op(torch.tanh, lambda g, y, x: (g * tanh_slope(y),)), (X,), {})


def in_program(rule: Rule) -> Callable[..., Any]:
    tanh = Op(torch.tanh, rule, name="tanh")
    return lambda x, y: mul(tanh(x), add(x, y))


def pair(wrong: Any, sound: Any, *inputs: Tensor) -> Callable[[], Pair]:
    return lambda: (wrong, sound, inputs, {})


FIRST_ORDER_IS_ENOUGH = [
    Mistake("saved-intermediate", SILENT, pair(TanhOfIntermediate, TanhOfOutput, X)),
    Mistake("attribute", "wrong in", pair(SwishOnAttribute, function_of(swish, swish_rule), X)),
    Mistake("detach", SILENT, pair(
        function_of(swish, lambda g, x: swish_rule(g, x.detach())), function_of(swish, swish_rule), X)),
    Mistake("data-of-the-other", SILENT, pair(
        function_of(product, lambda g, x, y: (g * y.data.square(), 2 * g * x * y)), function_of(product, product_rule), X, Y)),
    Mistake("detached-upstream", SILENT, pair(
        function_of(swish, lambda g, x: swish_rule(g.detach(), x)), function_of(swish, swish_rule), X)),
    Mistake("no-grad", "silently missing", pair(function_of(swish, without_gradients), function_of(swish, swish_rule), X)),
    Mistake("own-double-backward", "wrong in", pair(
        function_of(lambda x: x**3, CubeSlopeOnceMore.apply), function_of(lambda x: x**3, CubeSlope.apply), X)),
    Mistake("own-double-backward-once", "wrong in", pair(
        function_of(lambda x: x**3, CubeSlopeOnceMore.apply), function_of(lambda x: x**3, CubeSlopeTwice.apply), X)),
    Mistake("custom-op", SILENT, pair(TANH_OF_SLOPE, TANH_OF_OUTPUT, X)),
    Mistake("custom-op-in-numpy", SILENT, pair(TANH_NUMPY_DETACHED, TANH_NUMPY, X)),
    Mistake("module", "wrong in", pair(Gated(TanhOfIntermediate), Gated(TanhOfOutput), X)),
    Mistake("function-of-a-function", "wrong in", pair(
        lambda x: torch.sin(TanhOfIntermediate.apply(x)), lambda x: torch.sin(TanhOfOutput.apply(x)), X)),
]  # fmt: skip
# these are no Functions: nobody meets their second derivative without asking for it
ASKED_FOR = [
    Mistake("op-detach", SILENT, ops_of(lambda g, y, x: (g * tanh_slope(y.detach()),))),
    Mistake("op-no-graph", "silently missing", ops_of(lambda g, y, x: (g.detach() * tanh_slope(y.detach()),))),
    Mistake("program", "wrong in", pair(
        in_program(lambda g, y, x: (g * tanh_slope(y.detach()),)), in_program(lambda g, y, x: (g * tanh_slope(y),)), X, Y)),
]  # fmt: skip
