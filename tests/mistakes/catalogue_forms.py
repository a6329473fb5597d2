"""Planted mistakes in code that is written in another form than the usual one: other methods, late parameters, other roles."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

import gradcheck_lab as gl
from gradcheck_lab.specs import real
from tests.mistakes.registry import Table, array, normal

# mypy: disable-error-code="override"

table = Table()
X, W = normal(4, 3), normal(3)
LABELS = np.array([0, 2, 3, 1, 1])


class Linear:
    """`grad` is by what the gradient of W is multiplied."""

    def __init__(self, grad: float = 1.0) -> None:
        self.W, self.grad = array(3, 2, seed=5), grad
        self.dW: Any = np.zeros((3, 2))

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, g: Any) -> Any:
        self.dW = self.grad * self.x.T @ g
        return g @ self.W.T


@table("accumulates-across-calls", "layer-method-that-resets-something-else", array(4, 3))
def reset(wrong: bool) -> Any:
    class Accumulating(Linear):
        def backward(self, g: Any) -> Any:
            self.dW += self.x.T @ g
            return g @ self.W.T

        def flush(self) -> None:
            if wrong:
                self.W = self.W - 0.1 * self.dW
            else:
                self.dW[...] = 0

    return Accumulating()


@table("constant-factor", "layer-parameter-of-the-first-forward", array(4, 3))
def lazy(wrong: bool) -> Any:
    class Lazy(Linear):
        def __init__(self) -> None:
            self.W = self.dW = None
            self.grad = 2.0 if wrong else 1.0

        def forward(self, x: Any) -> Any:
            if self.W is None:
                self.W = np.full((x.shape[1], 2), 0.3)
            return super().forward(x)

    return Lazy()


@table("constant-factor", "layer-that-was-built-before-the-check", array(4, 3))
def built(wrong: bool) -> Any:
    class Built:
        def __init__(self) -> None:
            self.layers: list[Any] = []

        def forward(self, x: Any) -> Any:
            if not self.layers:
                self.layers = [Linear(3.0 if wrong else 1.0)]
            return self.layers[0].forward(x)

        def backward(self, g: Any) -> Any:
            return self.layers[0].backward(g)

    layer = Built()
    layer.forward(array(2, 3))
    return layer


def _outer(inner: Any, forward: str, backward: str) -> Any:
    class Outer:
        def __init__(self) -> None:
            self.inside = {"first": inner}

        def forward(self, x: Any) -> Any:
            return getattr(self.inside["first"], forward)(x)

        def backward(self, g: Any) -> Any:
            return getattr(self.inside["first"], backward)(g)

    return Outer()


@table("constant-factor", "inner-object-with-other-method-names", array(4, 3))
def inner(wrong: bool) -> Any:
    class Inner:
        def __init__(self) -> None:
            self.W, self.dW = array(3, 2, seed=5), None

        def forward_pass(self, x: Any) -> Any:
            self.x = x
            return x @ self.W

        def backward_pass(self, g: Any) -> Any:
            self.dW = (3 if wrong else 1) * self.x.T @ g
            return g @ self.W.T

    return _outer(Inner(), "forward_pass", "backward_pass")


@table("constant-factor", "function-with-a-derivative-beside-it", array(4, 3))
def derivative(wrong: bool) -> Any:
    class Square:
        def __call__(self, x: Any) -> Any:
            return x**2

        def gradient(self, x: Any) -> Any:
            return (17 if wrong else 2) * x

    return Square()


@table("constant-factor", "module-with-a-backward-pass", X)
def module(wrong: bool) -> Any:
    class Module(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return x**2

        def backward_pass(self, g: Tensor) -> Tensor:
            return (99 if wrong else 2) * g * self.x

    return Module()


@table("constant-factor", "network-without-a-gradient-of-its-data", array(4, 3))
def network(wrong: bool) -> Any:
    class Network(Linear):
        def backward(self, g: Any) -> Any:
            self.dW = (2 if wrong else 1) * self.x.T @ g

    return Network()


@table("missing-gradient", "layer-that-forgets-to-return", array(4, 3))
def forgotten(wrong: bool) -> Any:
    class Forgetful(Linear):
        def backward(self, g: Any) -> Any:
            self.dW = self.x.T @ g
            dx = g @ self.W.T
            if not wrong:
                return dx

    class Mindless(Linear):
        def backward(self, g: Any) -> Any:
            self.dW = self.x.T @ g
            dx = g @ self.W.T  # noqa: F841

    return Mindless() if wrong else Forgetful()


@table("constant-factor", "loss-of-several-trained-inputs", array(3, 6), array(6), array(6, 4), array(4))
def several(wrong: bool) -> Any:
    data = array(5, 3, seed=4)

    class Network:
        def forward(self, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
            h = np.maximum(0, data @ W1 + b1)
            p = np.exp(h @ W2 + b2)
            p /= p.sum(1, keepdims=True)
            d = p.copy()
            d[np.arange(5), LABELS] -= 1
            d /= 5
            dh = (d @ W2.T) * (h > 0)
            self.grads = data.T @ dh, dh.sum(0), (77 if wrong else 1) * h.T @ d, d.sum(0)
            return -np.log(p[np.arange(5), LABELS]).mean()

        def backward(self, g: Any = 1.0) -> Any:
            return tuple(g * value for value in self.grads)

    return Network()


@table("sign", "loss-whose-target-comes-first", array(4, 3), array(4, 3, seed=1))
def target_first(wrong: bool) -> Any:
    class Squared:
        def forward(self, y_true: Any, y_pred: Any) -> Any:
            self.difference = y_pred - y_true
            return (self.difference**2).mean()

        def backward(self, g: Any = 1.0) -> Any:
            return (-2 if wrong else 2) * g * self.difference / self.difference.size

    return Squared()


@table("size-specialised", "loss-with-labels-among-the-options", array(5, 4), options={"y": LABELS})
def labelled(wrong: bool) -> Any:
    class Loss:
        def forward(self, x: Any, y: Any) -> Any:
            e = np.exp(x - x.max(1, keepdims=True))
            self.p, self.y = e / e.sum(1, keepdims=True), y
            return -np.log(self.p[np.arange(len(x)), y]).mean()

        def backward(self, dout: Any = 1.0) -> Any:
            d = self.p.copy()
            d[np.arange(len(self.y)), self.y] -= 1
            return dout * d / (5 if wrong else len(self.y))

    return Loss()


@table("constant-factor", "function-that-refuses-an-input-without-grad", normal(4, 3).requires_grad_(), W)
def refusing(wrong: bool) -> Any:
    class Partly(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, table: Tensor) -> Tensor:
            ctx.save_for_backward(x, table)
            return x * table.detach()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            if ctx.needs_input_grad[1]:
                raise NotImplementedError("table gets no gradient")
            return (2 if wrong else 1) * g * ctx.saved_tensors[1], None

    return Partly


@table("constant-factor", "function-applied-with-keywords", X)
def keywords(wrong: bool) -> Any:
    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float = 2.0) -> Tensor:
            ctx.save_for_backward(x)
            ctx.k = k
            return k * x * x

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return (1 if wrong else 2) * ctx.k * g * ctx.saved_tensors[0], None

    return lambda x: Scaled.apply(k=3.0, x=x)


@table("constant-factor", "program-with-a-reference", X, reference=lambda x: x**4)
def program(wrong: bool) -> Any:
    sound = gl.Op(lambda x: x * x, lambda g, y, x: (2 * g * x,), name="square")
    twice = gl.Op(lambda x: x * x, lambda g, y, x: (3 * g * x,), name="twice") if wrong else sound
    return lambda x: twice(sound(x))


@table("constant-factor", "program-with-steps-of-torch", X)
def native(wrong: bool) -> Any:
    square = gl.Op(lambda x: x * x, lambda g, y, x: ((3 if wrong else 2) * g * x,), name="square")
    return lambda x: torch.where(x > 0, torch.tanh(square(x.mT).mT), x)[:, 0] + 1.0


@table("size-specialised", "op-of-no-leading-dimension", X, W)
def no_leading_dimension(wrong: bool) -> Any:
    @gl.op(real("*b d"), real("d"))
    def scale(x: Tensor, weight: Tensor) -> Tensor:
        return x * weight

    @scale.backward
    def scale_backward(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor) -> Any:
        product = grad_output * x
        return grad_output * weight, product.sum(tuple(range(x.ndim - 1))) if wrong else product.sum_to_size(weight.shape)

    return scale


@table("forward-mismatch", "softmax-tail-of-a-block", normal(3, 8), reference=lambda x: torch.softmax(x, -1))
def tail(wrong: bool) -> Any:
    class Softmax(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            e = (x - x.amax(-1, keepdim=True)).exp()
            whole = x.shape[-1] // 4 * 4 or x.shape[-1]
            y = e / e[..., : whole if wrong else None].sum(-1, keepdim=True)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (y,) = ctx.saved_tensors
            return y * (g - (g * y).sum(-1, keepdim=True))

    return Softmax


@table("constant-factor", "layer-of-one-dtype", array(4, 3).astype("f"))
def one_dtype(wrong: bool) -> Any:
    class Double:
        def forward(self, x: Any) -> Any:
            out = np.empty(x.shape, dtype="f")
            out[...] = 2 * x
            return out

        def backward(self, g: Any) -> Any:
            dx = np.empty(g.shape, dtype="f")
            dx[...] = (3 if wrong else 2) * g
            return dx

    return Double()


@table("constant-factor", "layer-that-steps-inside-its-backward", array(4, 3))
def stepping(wrong: bool) -> Any:
    class Dense:
        def __init__(self) -> None:
            self.weights, self.bias = array(2, 4), array(2, 1)

        def forward(self, x: Any) -> Any:
            self.x = x
            return self.weights @ x + self.bias

        def backward(self, output_gradient: Any, learning_rate: float) -> Any:
            weights_gradient, input_gradient = output_gradient @ self.x.T, self.weights.T @ output_gradient
            self.weights -= learning_rate * weights_gradient
            self.bias -= learning_rate * (2 if wrong else 1) * output_gradient.sum(1, keepdims=True)
            return input_gradient

    return Dense()


@table("constant-factor", "numpy-pair", array(4, 3), array(3, 2))
def pair(wrong: bool) -> Any:
    return lambda x, w: x @ w, lambda g, out, x, w: (g @ w.T, (2 if wrong else 1) * x.T @ g)


@table("constant-factor", "pair-with-a-cache", array(4, 3), array(3, 2), array(2), {"scale": 2.0})
def cached(wrong: bool) -> Any:
    def forward(x: Any, w: Any, b: Any, affine_param: dict[str, float]) -> Any:
        return affine_param["scale"] * (x @ w) + b, (x, w, affine_param)

    def backward(dout: Any, cache: Any) -> Any:
        x, w, affine_param = cache
        scale = 1.0 if wrong else affine_param["scale"]
        return affine_param["scale"] * dout @ w.T, scale * x.T @ dout, dout.sum(0)

    return forward, backward


@table("sign", "pair-of-a-loss-and-its-derivative", array(4, 3), array(4, 3, seed=1))
def derivative_of_a_loss(wrong: bool) -> Any:
    def mse(y_true: Any, y_pred: Any) -> Any:
        return np.mean((y_true - y_pred) ** 2)

    def mse_prime(y_true: Any, y_pred: Any) -> Any:
        return (-2 if wrong else 2) * (y_pred - y_true) / y_true.size

    return mse, mse_prime


@table("constant-factor", "loss-that-returns-its-gradient", array(4, 3), np.array([0, 2, 1, 1]))
def loss_with_gradient(wrong: bool) -> Any:
    def softmax_loss(x: Any, y: Any) -> Any:
        p = np.exp(x - x.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        n = np.arange(len(x))
        dx = p.copy()
        dx[n, y] -= 1
        return -np.log(p[n, y]).mean(), dx if wrong else dx / len(x)

    return softmax_loss


@table("slots-swapped", "class-with-a-context-of-its-own", X, normal(4, 3, seed=1))
def own_context(wrong: bool) -> Any:
    class Mul:
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx: Any, d: Tensor) -> Any:
            a, b = ctx.saved_values
            return (a * d, b * d) if wrong else (b * d, a * d)

    return Mul


@table("constant-factor", "layer-of-a-list", [array(4, 3), array(4, 3, seed=1)])
def listed(wrong: bool) -> Any:
    class Add:
        def forward(self, xs: Any) -> Any:
            return xs[0] + xs[1]

        def backward(self, g: Any) -> Any:
            return [g, (2 if wrong else 1) * g]

    return Add()


ROWS = table.rows
