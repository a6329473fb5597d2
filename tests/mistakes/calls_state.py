"""Backwards that carry something from one call to another, or spoil what their own forward saved."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_lab.ops import mul
from gradcheck_lab.rules.op import Op
from tests.mistakes.calls_upstream import function_of
from tests.mistakes.row import Mistake, Pair, normal

# mypy: disable-error-code="override"

X, Y = normal(4, 3), normal(4, 3, seed=1)


def tanh_rule(g: Tensor, y: Tensor, x: Tensor) -> Any:
    return (g * (1 - y * y),)


def squaring_output(g: Tensor, y: Tensor, x: Tensor) -> Any:
    return (g * y.mul_(y).neg_().add_(1),)


def in_program(rule: Any) -> Callable[..., Any]:
    tanh = Op(torch.tanh, rule, name="tanh")
    return lambda x, y: mul(tanh(x), y)


def saved_by(rule: Callable[[Tensor, Tensor], Tensor]) -> type[Function]:
    class Sigmoid(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.slope = torch.sigmoid(x) * torch.sigmoid(-x)
            return torch.sigmoid(x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return rule(grad_output, ctx.slope)

    return Sigmoid


class ReluLayer:
    def forward(self, x: Any) -> Any:
        self.mask = (x > 0).astype(x.dtype)
        return x * self.mask

    def backward(self, dout: Any) -> Any:
        return dout * self.mask


class SpoilingRelu(ReluLayer):
    def backward(self, dout: Any) -> Any:
        self.mask *= dout
        return self.mask


def kept_in(held: dict[str, Tensor] | None) -> Op:
    """exp whose rule takes its input from a dictionary, or from its arguments for None."""

    def forward(x: Tensor) -> Tensor:
        if held is not None:
            held["x"] = x
        return x.exp()

    return Op(forward, lambda g, y, x: (g * (x if held is None else held["x"]).exp(),), name="exp")


def kept_on_class(shared: bool) -> type[Function]:
    class Square(Function):
        last: Tensor

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            if shared:
                Square.last = x
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return 2 * (Square.last if shared else ctx.saved_tensors[0]) * grad_output

    return Square


def tape_program(shared: bool) -> Callable[..., Any]:
    tape: list[Tensor] = []

    def forward(x: Tensor) -> Tensor:
        tape[:] = [torch.sin(x)]
        return torch.cos(x)

    cosine = Op(forward, lambda g, y, x: (-g * (tape[0] if shared else torch.sin(x)),), name="cosine")
    return lambda x, y: mul(cosine(x), y)


def summed_into(reset: bool, function: bool = False) -> Any:
    """x² whose gradient is added to a buffer that outlives the call."""
    held: dict[str, Tensor] = {}

    def gradient(g: Tensor, x: Tensor) -> Tensor:
        total = torch.zeros_like(x) if reset or "dx" not in held else held["dx"]
        held["dx"] = total + 2 * g * x
        return held["dx"]

    if function:
        return function_of(torch.square, gradient)
    return Op(torch.square, lambda g, y, x: (gradient(g, x),), name="square")


def weight_sum(reset: bool) -> Callable[..., Any]:
    held: dict[str, Tensor] = {}

    def rule(g: Tensor, y: Tensor, x: Tensor, w: Tensor) -> Any:
        before = torch.zeros_like(w) if reset else held.get("dw", torch.zeros_like(w))
        held["dw"] = before + g.T @ x
        return g @ w, held["dw"]

    linear = Op(lambda x, w: x @ w.T, rule, name="linear")
    return lambda x, w: linear(x, w)


def buffered(fresh: bool, function: bool = False) -> Any:
    """exp that writes its gradient to one buffer for all calls, returned itself or as a copy."""
    held: dict[torch.Size, Tensor] = {}

    def gradient(g: Tensor, x: Tensor) -> Tensor:
        buffer = held.setdefault(x.shape, torch.empty_like(x))
        torch.mul(g, x.exp(), out=buffer)
        return buffer.clone() if fresh else buffer

    if function:
        return function_of(torch.exp, gradient)
    return Op(torch.exp, lambda g, y, x: (gradient(g, x),), name="exp")


_WORKSPACES: dict[Any, Any] = {}


class Workspace:
    def __init__(self, fresh: bool) -> None:
        self.fresh = fresh

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * x

    def backward(self, dout: Any) -> Any:
        workspace = _WORKSPACES.setdefault((self.x.shape, self.x.dtype), np.zeros_like(self.x))
        np.multiply(2 * dout, self.x, out=workspace)
        return workspace.copy() if self.fresh else workspace


def jittered(size: float, function: bool = False) -> Any:
    """sin whose gradient carries noise of this relative size, from a generator that nobody can seed."""
    generator = torch.Generator().manual_seed(0)

    def gradient(g: Tensor, x: Tensor) -> Tensor:
        return g * x.cos() * (1 + size * torch.randn(x.shape, dtype=x.dtype, generator=generator))

    if function:
        return function_of(torch.sin, gradient)
    return Op(torch.sin, lambda g, y, x: (gradient(g, x),), name="sin")


class Noisy:
    calls = 0

    def __init__(self, step: float) -> None:
        self.step = step

    def forward(self, x: Any) -> Any:
        self.x = x
        return np.sin(x)

    def backward(self, dout: Any) -> Any:
        Noisy.calls += 1
        return dout * np.cos(self.x) * (1 + self.step * np.sin(Noisy.calls**2))


def both(make: Callable[..., Any], wrong: Any, sound: Any, *inputs: Any, **how: bool) -> Callable[[], Pair]:
    return lambda: (make(wrong, **how), make(sound, **how), inputs, {})


MISTAKES = [
    Mistake(
        "tanh",
        "mutates-saved",
        lambda: (Op(torch.tanh, squaring_output, name="tanh"), Op(torch.tanh, tanh_rule, name="tanh"), (X,), {}),
    ),
    Mistake("sigmoid", "mutates-saved", both(saved_by, lambda g, s: s.mul_(g).clone(), lambda g, s: s * g, X)),
    Mistake("program-tanh", "mutates-saved", both(in_program, squaring_output, tanh_rule, X, Y)),
    Mistake("relu-layer", "mutates-saved", lambda: (SpoilingRelu(), ReluLayer(), (X.numpy(),), {})),
    Mistake("exp-in-closure", "stale-state", lambda: (kept_in({}), kept_in(None), (X,), {})),
    Mistake("square-on-class", "stale-state", both(kept_on_class, True, False, X)),
    Mistake("program-tape", "stale-state", both(tape_program, True, False, X, Y)),
    Mistake("square", "accumulates-across-calls", both(summed_into, False, True, X)),
    Mistake("function-square", "accumulates-across-calls", both(summed_into, False, True, X, function=True)),
    Mistake("program-weight", "accumulates-across-calls", both(weight_sum, False, True, X, normal(2, 3))),
    Mistake("exp", "reused-buffer", both(buffered, False, True, X)),
    Mistake("function-exp", "reused-buffer", both(buffered, False, True, X, function=True)),
    Mistake("layer", "reused-buffer", both(Workspace, False, True, X.numpy())),
    Mistake("sin", "nondeterministic", both(jittered, 1e-9, 1e-16, X)),
    Mistake("function-sin", "nondeterministic", both(jittered, 1e-9, 1e-16, X, function=True)),
    Mistake("layer", "nondeterministic", both(Noisy, 1e-9, 0.0, X.numpy())),
]
