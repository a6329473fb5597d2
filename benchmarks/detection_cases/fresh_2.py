"""Layers that nobody built the check against: NumPy layers, torch modules and graphs of values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

from tests.mistakes.registry import Table, array, normal

table = Table()


class Value:
    """A number of a graph, as the courses write it."""

    def __init__(self, data: float, children: tuple[Value, ...] = ()) -> None:
        self.data = data
        self.grad = 0.0
        self._backward: Callable[[], None] = lambda: None
        self._prev = set(children)

    def __add__(self, other: Any) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))

        def _backward() -> None:
            self.grad += out.grad
            other.grad += out.grad

        out._backward = _backward
        return out

    def __mul__(self, other: Any) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other))

        def _backward() -> None:
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._backward = _backward
        return out

    def tanh(self) -> Value:
        t = math.tanh(self.data)
        out = Value(t, (self,))

        def _backward() -> None:
            self.grad += (1 - t * t) * out.grad

        out._backward = _backward
        return out

    def backward(self) -> None:
        order: list[Value] = []
        seen: set[Value] = set()

        def visit(v: Value) -> None:
            if v not in seen:
                seen.add(v)
                for child in v._prev:
                    visit(child)
                order.append(v)

        visit(self)
        self.grad = 1.0
        for v in reversed(order):
            v._backward()


@table("fan-out-overwritten", "sine-node-assigns", Value(0.7), Value(-1.3))
def sine_node(wrong: bool) -> Any:
    """The node of a sine assigns the gradient of its argument, which the sum above it had added to already."""

    def sin(v: Value) -> Value:
        out = Value(math.sin(v.data), (v,))

        def _backward() -> None:
            local = math.cos(v.data) * out.grad
            v.grad = local if wrong else v.grad + local

        out._backward = _backward
        return out

    def wave(a: Value, b: Value) -> Value:
        return (sin(a) * b + a).tanh()

    return wave


@table("tie-mass", "larger-of-two-values", Value(0.4), Value(-0.9))
def larger_of_two(wrong: bool) -> Any:
    """The node of a maximum asks each side by itself whether it is the largest: at equal values both get all of it."""

    def maximum(a: Value, b: Value) -> Value:
        out = Value(max(a.data, b.data), (a, b))

        def _backward() -> None:
            if wrong:
                a.grad += out.grad if a.data >= b.data else 0.0
                b.grad += out.grad if b.data >= a.data else 0.0
            elif a.data >= b.data:
                a.grad += out.grad
            else:
                b.grad += out.grad

        out._backward = _backward
        return out

    def score(a: Value, b: Value) -> Value:
        return maximum(a, b) * 3.0 + b

    return score


@table("size-specialised", "average-over-square-maps", array(2, 3, 4, 4))
def average_over_maps(wrong: bool) -> Any:
    """Global average pooling divides the gradient by the square of the height, right while maps are square."""

    class GlobalAveragePool:
        def forward(self, x: Any) -> Any:
            self.shape = x.shape
            return x.mean(axis=(2, 3))

        def backward(self, dout: Any) -> Any:
            height, width = self.shape[2:]
            area = height * height if wrong else height * width
            return np.broadcast_to(dout[:, :, None, None] / area, self.shape).copy()

    return GlobalAveragePool()


@table("mode-mismatch", "drop-connect-in-evaluation", normal(5, 4))
def drop_connect(wrong: bool) -> Any:
    """In evaluation the weights are scaled by the share that is kept, in forward only."""

    class Connect(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, keep: Any) -> Tensor:
            ctx.keep = keep
            ctx.save_for_backward(x, weight)
            return x @ (weight * keep).T

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            keep = ctx.keep
            if wrong and not isinstance(keep, Tensor):
                keep = 1.0
            rows = grad.reshape(-1, grad.shape[-1])
            return grad @ (weight * keep), rows.T @ x.reshape(-1, x.shape[-1]) * keep, None

    class DropConnect(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = 0.3
            self.weight = nn.Parameter(normal(6, 4, seed=1))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                return Connect.apply(x, self.weight, (torch.rand_like(self.weight) >= self.p).to(self.weight.dtype))
            return Connect.apply(x, self.weight, 1 - self.p)

    return DropConnect()


@table("stale-state", "winners-kept-on-the-module", normal(4, 6))
def winners(wrong: bool) -> Any:
    """The backward of a k-winners layer asks its module for the mask, which is that of the latest forward."""

    class Winners(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
            best = x.topk(min(2, x.shape[-1]), dim=-1).indices
            layer.mask = torch.zeros_like(x).scatter(-1, best, 1.0)
            ctx.layer = layer
            ctx.save_for_backward(layer.mask)
            return x * layer.mask

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            mask = ctx.layer.mask if wrong else ctx.saved_tensors[0]
            return grad * mask, None

    class KWinners(nn.Module):
        mask: Any = None

        def forward(self, x: Tensor) -> Tensor:
            return Winners.apply(x, self)

    return KWinners()


@table("reused-buffer", "leaky-relu-in-a-workspace", array(4, 5))
def leaky_relu_workspace(wrong: bool) -> Any:
    """Gradients are written to one workspace per shape and handed out: the next call overwrites the last result."""

    workspace: dict[Any, Any] = {}

    class LeakyReLU:
        slope = 0.1

        def forward(self, x: Any) -> Any:
            self.factor = np.where(x > 0, np.ones_like(x), np.full_like(x, self.slope))
            return x * self.factor

        def backward(self, dout: Any) -> Any:
            key = dout.shape, dout.dtype
            if key not in workspace:
                workspace[key] = np.empty(dout.shape, dout.dtype)
            dx = workspace[key]
            np.multiply(dout, self.factor, out=dx, casting="same_kind")
            return dx if wrong else dx.copy()

    return LeakyReLU()


@table("wrong-shape|size-specialised", "strided-convolution-leftover", array(2, 3, 9))
def strided_convolution(wrong: bool) -> Any:
    """The input gradient of a strided convolution is as long as its windows reach, shorter than an input with a leftover."""

    class Conv1d:
        def __init__(self, stride: int = 2) -> None:
            self.W, self.b, self.stride = array(4, 3, 3, seed=1), array(4, seed=2), stride
            self.dW = self.db = None

        def forward(self, x: Any) -> Any:
            self.x = x
            size, step = self.W.shape[2], self.stride
            steps = (x.shape[2] - size) // step + 1
            windows = [x[:, :, t * step : t * step + size] for t in range(steps)]
            return np.stack([np.tensordot(window, self.W, ([1, 2], [1, 2])) + self.b for window in windows], axis=2)

        def backward(self, dout: Any) -> Any:
            size, step = self.W.shape[2], self.stride
            batch, channels, length = self.x.shape
            steps = dout.shape[2]
            dx = np.zeros((batch, channels, (steps - 1) * step + size if wrong else length), self.x.dtype)
            self.dW = np.zeros_like(self.W)
            for t in range(steps):
                window = slice(t * step, t * step + size)
                dx[:, :, window] += np.einsum("nf,fck->nck", dout[:, :, t], self.W)
                self.dW += np.einsum("nf,nck->fck", dout[:, :, t], self.x[:, :, window])
            self.db = dout.sum(axis=(0, 2))
            return dx

    return Conv1d()


@table("wrong-shape", "bias-column-without-keepdims", array(3, 5))
def bias_column(wrong: bool) -> Any:
    """Examples are columns and the bias is one column, whose gradient comes as a row that broadcasts in the update."""

    class Dense:
        def __init__(self) -> None:
            self.params = {"W": array(4, 3, seed=1), "b": array(4, 1, seed=2)}
            self.grads: dict[str, Any] = {}

        def forward(self, A: Any) -> Any:
            assert A.ndim == 2, "one example a column"
            self.A = A
            return self.params["W"] @ A + self.params["b"]

        def backward(self, dZ: Any) -> Any:
            self.grads["W"] = dZ @ self.A.T
            self.grads["b"] = dZ.sum(axis=1) if wrong else dZ.sum(axis=1, keepdims=True)
            return self.params["W"].T @ dZ

    return Dense()


@table("wrong-operand", "peephole-sees-the-old-cell", array(3, 4), array(3, 2, seed=1), array(4, 6, seed=2), array(2, seed=3))
def peephole(wrong: bool) -> Any:
    """The output gate looks at the new cell, but its peephole weight gets the gradient for the previous cell."""

    def sigmoid(z: Any) -> Any:
        return 0.5 * (1 + np.tanh(0.5 * z))

    def step_forward(x: Any, prev_c: Any, W: Any, peep: Any) -> Any:
        N, H = prev_c.shape
        assert x.shape[0] == N
        assert peep.shape == (H,)
        a = x @ W
        f, g = sigmoid(a[:, :H]), np.tanh(a[:, H : 2 * H])
        next_c = f * prev_c + (1 - f) * g
        o = sigmoid(a[:, 2 * H :] + peep * next_c)
        next_h = o * np.tanh(next_c)
        return next_h, next_c, (x, prev_c, W, peep, f, g, o, next_c)

    def step_backward(dnext_h: Any, dnext_c: Any, cache: Any) -> Any:
        x, prev_c, W, peep, f, g, o, next_c = cache
        t = np.tanh(next_c)
        da_o = dnext_h * t * o * (1 - o)
        dpeep = (da_o * (prev_c if wrong else next_c)).sum(axis=0)
        dc = dnext_c + dnext_h * o * (1 - t**2) + da_o * peep
        da = np.hstack([dc * (prev_c - g) * f * (1 - f), dc * (1 - f) * (1 - g**2), da_o])
        return da @ W.T, dc * f, x.T @ da, dpeep

    return step_forward, step_backward


@table("epsilon-mismatch", "instance-norm-without-epsilon", normal(2, 3, 8))
def instance_norm(wrong: bool) -> Any:
    """The backward of an instance norm divides by the deviation alone, the forward by that with an epsilon."""

    class Normalise(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
            centred = x - x.mean(-1, keepdim=True)
            var = centred.square().mean(-1, keepdim=True)
            xhat = centred * (var + eps).rsqrt()
            ctx.eps = eps
            ctx.save_for_backward(xhat, var, weight)
            return xhat * weight[:, None] + bias[:, None]

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            xhat, var, weight = ctx.saved_tensors
            inv = var.rsqrt() if wrong else (var + ctx.eps).rsqrt()
            g = (grad * weight[:, None]).sum_to_size(xhat.shape)
            dx = inv * (g - g.mean(-1, keepdim=True) - xhat * (g * xhat).mean(-1, keepdim=True))
            return dx, (grad * xhat).sum(-1).sum_to_size(weight.shape), grad.sum(-1).sum_to_size(weight.shape), None

    class InstanceNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(normal(3, seed=1)), nn.Parameter(normal(3, seed=2))

        def forward(self, x: Tensor) -> Tensor:
            return Normalise.apply(x, self.weight, self.bias, 1e-5)

    return InstanceNorm()


ROWS = tuple(table.rows)
