"""Wrong and sound backwards of linear, convolution, pooling and embedding layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from tests.mistakes.registry import Table, array, normal, whole

table = Table()


@table("size-specialised|wrong-shape", "convolution-with-a-remainder", array(2, 2, 5, 5))
def convolution(wrong: bool) -> Any:
    """As reported for needle and BackPACK: the input's gradient has the wrong size where the stride leaves a remainder."""

    class Convolution:
        def __init__(self) -> None:
            self.W, self.b, self.stride, self.pad = array(3, 2, 3, 3, seed=1), array(3, seed=2), 2, 0
            self.dW = self.db = None

        def windows(self, height: int, width: int) -> Any:
            k, s = self.W.shape[2], self.stride
            for i in range((height - k) // s + 1):
                for j in range((width - k) // s + 1):
                    yield i, j, slice(i * s, i * s + k), slice(j * s, j * s + k)

        def forward(self, x: Any) -> Any:
            self.x = x
            n, _, height, width = x.shape
            k, s = self.W.shape[2], self.stride
            out = np.zeros((n, self.W.shape[0], (height - k) // s + 1, (width - k) // s + 1))
            for i, j, rows, columns in self.windows(height, width):
                out[:, :, i, j] = np.einsum("nchw,fchw->nf", x[:, :, rows, columns], self.W) + self.b
            return out

        def backward(self, dout: Any) -> Any:
            n, c, height, width = self.x.shape
            if wrong:
                k, s = self.W.shape[2], self.stride
                height, width = (dout.shape[2] - 1) * s + k, (dout.shape[3] - 1) * s + k
            dx = np.zeros((n, c, height, width))
            self.dW, self.db = np.zeros_like(self.W), dout.sum(axis=(0, 2, 3))
            for i, j, rows, columns in self.windows(height, width):
                self.dW += np.einsum("nf,nchw->fchw", dout[:, :, i, j], self.x[:, :, rows, columns])
                dx[:, :, rows, columns] += np.einsum("nf,fchw->nchw", dout[:, :, i, j], self.W)
            return dx

    return Convolution()


@table(
    "option-specialised",
    "course-convolution-with-a-stride",
    array(2, 5, 5, 2),
    array(3, 3, 2, 3, seed=1),
    array(1, 1, 1, 3, seed=2),
)
def conv_pair(wrong: bool) -> Any:
    """As reported for the course's solutions: the backward forgets to multiply the window's corner by the stride."""

    def conv_forward(A_prev: Any, W: Any, b: Any, stride: int = 1, pad: int = 0) -> Any:
        padded = np.pad(A_prev, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        m, n_H_prev, n_W_prev, _ = padded.shape
        f, _, _, n_C = W.shape
        n_H, n_W = (n_H_prev - f) // stride + 1, (n_W_prev - f) // stride + 1
        Z = np.zeros((m, n_H, n_W, n_C), dtype=A_prev.dtype)
        for h in range(n_H):
            for w in range(n_W):
                part = padded[:, h * stride : h * stride + f, w * stride : w * stride + f, :]
                Z[:, h, w, :] = np.tensordot(part, W, axes=3) + b[0, 0]
        return Z, (A_prev, W, b, stride, pad)

    def conv_backward(dZ: Any, cache: Any) -> Any:
        A_prev, W, b, stride, pad = cache
        padded = np.pad(A_prev, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        f, step = W.shape[0], 1 if wrong else stride
        dA, dW = np.zeros_like(padded), np.zeros_like(W)
        for h in range(dZ.shape[1]):
            for w in range(dZ.shape[2]):
                rows, columns = slice(h * step, h * step + f), slice(w * step, w * step + f)
                dA[:, rows, columns, :] += np.tensordot(dZ[:, h, w, :], W, axes=(1, 3))
                dW += np.tensordot(padded[:, rows, columns, :], dZ[:, h, w, :], axes=(0, 0))
        inner = dA[:, pad : dA.shape[1] - pad, pad : dA.shape[2] - pad, :]
        return inner, dW, dZ.sum(axis=(0, 1, 2)).reshape(b.shape)

    return conv_forward, conv_backward


@table("permuted", "true-convolution-of-a-signal", array(8), array(3, seed=1))
def signal(wrong: bool) -> Any:
    """The forward turns the kernel round, the gradient of the kernel is not turned back."""

    def conv1d_forward(x: Any, w: Any) -> Any:
        return np.array([x[i : i + len(w)] @ w[::-1] for i in range(len(x) - len(w) + 1)]), (x, w)

    def conv1d_backward(dout: Any, cache: Any) -> Any:
        x, w = cache
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for i in range(len(dout)):
            dx[i : i + len(w)] += dout[i] * w[::-1]
            dw += dout[i] * (x[i : i + len(w)] if wrong else x[i : i + len(w)][::-1])
        return dx, dw

    return conv1d_forward, conv1d_backward


@table("size-specialised", "average-pooling-with-a-clipped-window", normal(2, 3, 4, 4))
def average_pooling(wrong: bool) -> Any:
    """As reported for burn and Inductor: the backward divides the clipped last window by the whole kernel."""

    class AvgPool(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.shape = x.shape
            return torch.nn.functional.avg_pool2d(x, 2, 2, ceil_mode=True)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            dx = g.new_zeros(ctx.shape)
            for i in range(g.shape[-2]):
                for j in range(g.shape[-1]):
                    window = dx[..., 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                    area = 4 if wrong else window.shape[-2] * window.shape[-1]
                    window += (g[..., i, j] / area)[..., None, None]
            return dx

    return AvgPool


@table("tie-mass", "max-pooling-by-a-mask", array(2, 2, 4, 4))
def max_pooling(wrong: bool) -> Any:
    """As reported for Theano: every element equal to the maximum gets the whole gradient."""

    class MaxPool:
        def forward(self, x: Any) -> Any:
            n, c, h, w = x.shape
            self.shape = x.shape
            self.blocks = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
            self.out = self.blocks.max(axis=-1)
            return self.out

        def backward(self, dout: Any) -> Any:
            n, c, h, w = self.shape
            mask = (self.blocks == self.out[..., None]).astype(dout.dtype)
            if not wrong:
                mask /= mask.sum(axis=-1, keepdims=True)
            dblocks = (mask * dout[..., None]).reshape(n, c, h // 2, w // 2, 2, 2)
            return dblocks.transpose(0, 1, 2, 4, 3, 5).reshape(self.shape)

    return MaxPool()


@table("duplicate-index|option-specialised", "max-pooling-with-overlap", array(2, 2, 4, 6))
def overlapping_pooling(wrong: bool) -> Any:
    """As reported for CNNs from scratch: the gradient is assigned to the winner, so windows that overlap overwrite it."""

    def pool_forward(x: Any, size: int = 2, stride: int = 2) -> Any:
        out_h, out_w = (x.shape[2] - size) // stride + 1, (x.shape[3] - size) // stride + 1
        out = np.zeros((*x.shape[:2], out_h, out_w), dtype=x.dtype)
        for i in range(out_h):
            for j in range(out_w):
                out[:, :, i, j] = x[:, :, i * stride : i * stride + size, j * stride : j * stride + size].max(axis=(2, 3))
        return out, (x, size, stride)

    def pool_backward(dout: Any, cache: Any) -> Any:
        x, size, stride = cache
        dx = np.zeros_like(x)
        for n, c, i, j in np.ndindex(*dout.shape):
            window = x[n, c, i * stride : i * stride + size, j * stride : j * stride + size]
            row, column = np.unravel_index(window.argmax(), window.shape)
            if wrong:
                dx[n, c, i * stride + row, j * stride + column] = dout[n, c, i, j]
            else:
                dx[n, c, i * stride + row, j * stride + column] += dout[n, c, i, j]
        return dx

    return pool_forward, pool_backward


@table("duplicate-index", "embedding-of-different-words", np.array([2, 0, 5, 3]))
def embedding(wrong: bool) -> Any:
    """The rows' gradients are assigned: a word that comes twice keeps the last one."""

    class Embedding:
        def __init__(self) -> None:
            W = array(6, 3, seed=1)
            self.params, self.grads, self.idx = [W], [np.zeros_like(W)], None

        def forward(self, idx: Any) -> Any:
            (W,) = self.params
            self.idx = idx
            return W[idx]

        def backward(self, dout: Any) -> None:
            (dW,) = self.grads
            dW[...] = 0
            if wrong:
                dW[self.idx] = dout
            else:
                np.add.at(dW, self.idx, dout)

    return Embedding()


@table("option-specialised", "embedding-with-padding", normal(6, 3), whole(6, 4, 2))
def padded_embedding(wrong: bool) -> Any:
    """The forward blanks the padding word, the backward gives its row a gradient all the same."""

    class PaddedEmbedding(Function):
        @staticmethod
        def forward(ctx: Any, weight: Tensor, tokens: Tensor, padding_idx: int = -1) -> Tensor:
            ctx.save_for_backward(tokens)
            ctx.rows, ctx.padding_idx = weight.shape[0], padding_idx
            return weight[tokens] * (tokens != padding_idx).unsqueeze(-1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (tokens,) = ctx.saved_tensors
            flat, rows = tokens.reshape(-1), g.reshape(tokens.numel(), g.shape[-1])
            if not wrong:
                rows = rows * (flat != ctx.padding_idx).unsqueeze(-1)
            return g.new_zeros(ctx.rows, g.shape[-1]).index_add(0, flat, rows), None, None

    return PaddedEmbedding


@table("needs-input-grad", "linear-of-a-frozen-input", normal(5, 3), normal(4, 3, seed=1), normal(4, seed=2))
def linear(wrong: bool) -> Any:
    """The flags of input and weight are taken for each other, so a frozen input takes the weight's gradient away."""

    class Linear(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            ctx.bias_shape = bias.shape
            return x @ weight.T + bias

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            dx = dw = db = None
            of_x, of_weight, of_bias = ctx.needs_input_grad
            if wrong:
                of_x, of_weight = of_weight, of_x
            if of_x:
                dx = g @ weight
            if of_weight:
                dw = torch.tensordot(g, x, dims=(list(range(g.ndim - 1)), list(range(g.ndim - 1))))
            if of_bias:
                db = g.sum_to_size(ctx.bias_shape)
            return dx, dw, db

    return Linear


@table("wrong-operand", "dense-with-a-square-weight", array(5, 4))
def dense(wrong: bool) -> Any:
    """The weight is not transposed on the way back, which a square weight lets pass."""

    class Dense:
        def __init__(self) -> None:
            self.weights, self.bias = array(4, 4, seed=1), array(1, 4, seed=2)

        def forward(self, inputs: Any) -> Any:
            assert inputs.ndim == 2
            self.inputs = inputs
            return np.dot(inputs, self.weights) + self.bias

        def backward(self, dvalues: Any) -> None:
            self.dweights = np.dot(self.inputs.T, dvalues)
            self.dbias = np.sum(dvalues, axis=0, keepdims=True)
            self.dinputs = np.dot(dvalues, self.weights if wrong else self.weights.T)

    return Dense()


@table("constant-factor", "nearest-upsampling", normal(2, 3, 4, 2))
def upsampling(wrong: bool) -> Any:
    """The gradients of the copies of a pixel are averaged, not added."""

    class Upsample:
        def forward(self, x: Tensor, scale: int = 2) -> Tensor:
            self.shape, self.scale = x.shape, scale
            return x.repeat_interleave(scale, -1).repeat_interleave(scale, -2)

        def backward(self, dout: Tensor) -> Tensor:
            *lead, h, w = self.shape
            copies = dout.reshape(*lead, h, self.scale, w, self.scale)
            return copies.mean((-3, -1)) if wrong else copies.sum((-3, -1))

    return Upsample()


@table("size-specialised", "global-average-pooling", array(4, 3, 2, 5))
def global_pooling(wrong: bool) -> Any:
    """The backward squeezes the upstream gradient, which also takes a batch of one, or a single channel, away."""

    class GlobalAveragePool:
        def forward(self, x: Any) -> Any:
            self.shape = x.shape
            return x.mean(axis=(2, 3), keepdims=True)

        def backward(self, dout: Any) -> Any:
            h, w = self.shape[2:]
            per_pixel = (dout.squeeze() if wrong else dout[:, :, 0, 0]) / (h * w)
            return per_pixel[..., None, None] * np.ones((h, w), dtype=dout.dtype)

    return GlobalAveragePool()


ROWS = tuple(table.rows)
