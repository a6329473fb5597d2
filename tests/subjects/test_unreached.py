"""A call that never reaches a hand-written gradient is refused, and names the gradient."""

# mypy: disable-error-code="override"
from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function

import gradcheck_lab as gl
from gradcheck_lab import ops

X = torch.randn(4, 3, dtype=torch.float64)
A = np.random.default_rng(0).normal(size=(4, 3))


class Context:
    def save_for_backward(self, *values: Any) -> None:
        self.saved_tensors = values


class Exp(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 5 * g * ctx.saved_tensors[0]


class Sine(Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.sin()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return sine_backward(g, *ctx.saved_tensors)


def sine(x: Tensor) -> Tensor:
    return Sine.apply(x)  # type: ignore[no-any-return,no-untyped-call]


def sine_backward(g: Tensor, x: Tensor) -> Tensor:
    return g * x.cos()


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Sine.forward(x) * 2


class Holding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.function = Sine

    def forward(self, x: Tensor) -> Tensor:
        return self.function.forward(x)


class Inner(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        self.y = x.sigmoid()
        return self.y

    def backward_pass(self, g: Tensor) -> Tensor:
        return 3 * g * self.y


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: Tensor) -> Any:
        return self.inner(x) * 2


class Layer:
    def __init__(self, weight: Any) -> None:
        self.W = weight

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, g: Any) -> Any:
        self.dW = 9 * self.x.T @ g
        return g @ self.W.T


class Pair:
    @staticmethod
    def forward(x: Any) -> Any:
        return x * x

    @staticmethod
    def backward(g: Any, x: Any) -> Any:
        return 5 * g * x


class Sin:
    def __call__(self, x: Tensor) -> Tensor:
        return x.sin()


class WithDsin(Sin):
    def dsin(self, x: Tensor) -> Tensor:
        return 3 * x


class WithBackwards(Sin):
    def backwards(self, g: Tensor) -> Tensor:
        return 3 * g


class WithBwd(Sin):
    def bwd(self, g: Tensor) -> Tensor:
        return 3 * g


def cube(x: Any) -> Any:
    return x**3


def cube_grad(g: Any, x: Any) -> Any:
    return g * x


def swish_forward(x: Any) -> Any:
    return x * x


def swish_backward(g: Any, x: Any) -> Any:
    return g * x


square = gl.Op(lambda x: x**2, lambda g, o, x: (7 * g * x,), name="square")
cosine = gl.Op(torch.cos, lambda g, o, x: (7 * g * x,), name="cosine")
layer, array_layer = Layer(torch.randn(3, 2, dtype=torch.float64)), Layer(A.T[:, :2].copy())
forward_of_cosine = cosine.forward

UNREACHED = {
    "function-forward": (lambda x: Exp.forward(Context(), x) * 2, (X,), "Exp.backward"),
    "function-forward-itself": (Sine.forward, (X,), "Sine.backward"),
    "function-forward-in-a-lambda": (lambda x: Sine.forward(x) + 1, (X,), "Sine.backward"),
    "function-forward-in-a-module": (Doubled(), (X,), "Sine.backward"),
    "function-forward-of-an-attribute": (Holding(), (X,), "Sine.backward"),
    "op-forward": (lambda x: square.forward(x).sum(), (X,), "backward of the op square"),
    "op-forward-of-torch": (lambda x: cosine.forward(x).sum(), (X,), "backward of the op cosine"),
    "op-forward-beside-another-op": (lambda x: ops.relu(square.forward(x)), (X,), "backward of the op square"),
    "op-forward-of-the-library": (lambda x: ops.relu.forward(x).sum(), (X,), "backward of the op relu"),
    "op-forward-itself": (square.forward, (X,), "the op square"),
    "op-forward-in-a-partial": (partial(square.forward), (X,), "the op square"),
    "layer-forward-itself": (layer.forward, (X,), "Layer.backward"),
    "layer-forward-in-a-lambda": (lambda x: layer.forward(x).tanh(), (X,), "Layer.backward"),
    "numpy-layer-forward-itself": (array_layer.forward, (A,), "Layer.backward"),
    "numpy-layer-forward-in-a-lambda": (lambda x: array_layer.forward(x) * 2, (A,), "Layer.backward"),
    "module-in-a-module": (Outer(), (X,), "Inner.backward_pass"),
    "module-in-a-sequential": (nn.Sequential(nn.Linear(3, 3).double(), Inner()), (X,), "Inner.backward_pass"),
    "static-forward-itself": (Pair.forward, (A,), "Pair.backward"),
    "static-forward-in-a-lambda": (lambda x: Pair.forward(x) * 2, (X,), "Pair.backward"),
    "method-d-of-a-function": (WithDsin(), (X,), "'dsin'"),
    "method-backwards": (WithBackwards(), (X,), "'backwards'"),
    "method-bwd": (WithBwd(), (X,), "'bwd'"),
    "function-beside-its-gradient": (cube, (X,), "cube_grad"),
    "numpy-function-beside-its-gradient": (cube, (A,), "cube_grad"),
    "function-in-a-lambda": (lambda x: cube(x) + 1, (X,), "cube_grad"),
    "forward-beside-its-backward": (swish_forward, (X,), "swish_backward"),
}


@pytest.mark.parametrize(("subject", "inputs", "gradient"), UNREACHED.values(), ids=UNREACHED)
def test_a_gradient_that_never_runs_is_named(subject: Any, inputs: Any, gradient: str) -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(subject, *inputs)
    message = str(caught.value)
    assert gradient in message
    assert "never runs" in message or "never run" in message


PASTED = {
    "class-of-a-function": (Sine.forward, "gl.check(Sine, ...)", "pass"),
    "op": (square.forward, "gl.check(square, ...)", "fail"),
    "object": (layer.forward, "gl.check(layer, ...)", "fail"),
    "static-pair": (Pair.forward, "gl.check((Pair.forward, Pair.backward), ...)", "fail"),
    "pair": (cube, "gl.check((cube, cube_grad), ...)", "fail"),
}


@pytest.mark.parametrize(("subject", "call", "verdict"), PASTED.values(), ids=PASTED)
def test_the_call_that_the_message_shows_works(subject: Any, call: str, verdict: str) -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(subject, X)
    assert str(caught.value).endswith(call)
    assert eval(call.replace("...", "X, probes=()")).verdict == verdict


def test_the_method_that_the_message_shows_is_checked() -> None:
    subject = WithBwd()
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(subject, X)
    assert str(caught.value) == (
        "WithBwd has a method 'bwd', and calling WithBwd never runs it; check it with gl.Layer(subject, backward='bwd'), "
        "or pass subject.__call__ for what torch differentiates by itself"
    )
    assert gl.check(gl.Layer(subject, backward="bwd"), X, probes=()).verdict == "fail"


def no_gradient(x: Any) -> Any:
    return np.sin(x)


class Sobel(nn.Module):
    """Its gradient is one of an image, which its forward computes."""

    def gradient(self, x: Tensor) -> Tensor:
        return x[1:] - x[:-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.gradient(x).square()


class Asking(nn.Module):
    """Its gradient is torch's."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square()

    def grad(self, x: Tensor) -> Any:
        return torch.autograd.grad(self(x).sum(), x)


class Hooked(nn.Module):
    """Its hand-written gradient is put in place by a hook."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.sin()
        if y.requires_grad:
            y.register_hook(self.backward_of_one)
        return y

    def backward_of_one(self, g: Tensor) -> Tensor:
        return g


class ByAFunction(nn.Module):
    """Hands itself to a Function, whose backward calls its method."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2, dtype=torch.float64), requires_grad=False)

    def forward(self, x: Tensor) -> Any:
        return Handed.apply(x, self)  # type: ignore[no-untyped-call]

    def compute_gradient(self, g: Tensor) -> Tensor:
        return g @ self.weight.T


class Handed(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, module: ByAFunction) -> Tensor:
        ctx.module = module
        return x @ module.weight

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return ctx.module.compute_gradient(g), None


REACHED = {
    "called-by-a-function": ByAFunction(),
    "compiled": torch.compile(lambda x: x.sin() * 2, backend="eager"),
    "apply": sine,
    "apply-in-a-lambda": lambda x: sine(x) * 2,
    "op": lambda x: ops.relu(ops.exp(x)),
    "op-as-a-function": lambda x: ops.exp.as_function()(x) * 2,
    "computed-in-the-forward": Sobel(),
    "asked-of-torch": Asking(),
    "hook": Hooked(),
    "in-a-sequential": nn.Sequential(nn.Linear(3, 2).double(), nn.Tanh()),
}


@pytest.mark.parametrize("subject", REACHED.values(), ids=REACHED)
def test_what_is_reached_or_no_gradient_is_not_refused(subject: Any) -> None:
    assert gl.check(subject, X, probes=()).verdict == "pass"


def test_a_function_of_arrays_without_a_gradient_is_asked_for_one() -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(no_gradient, A)
    assert str(caught.value) == (
        "no_gradient takes arrays, and nothing in this call is a gradient of it; pass its backward too: "
        "gl.check((no_gradient, backward), A) with backward(dout, x), or a function of tensors"
    )
