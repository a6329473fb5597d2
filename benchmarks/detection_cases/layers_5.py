"""Wrong and sound backwards of networks with a loss and of loss layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

from tests.mistakes.registry import Table, array, normal, positive, whole

table = Table()
LABELS = whole(3, 6, seed=4).numpy()


def cross_entropy(scores: Any, y: Any) -> Any:
    """Mean loss of rows of scores, and its gradient."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    logp = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    n = len(y)
    dscores = np.exp(logp)
    dscores[np.arange(n), y] -= 1
    return -logp[np.arange(n), y].mean(), dscores / n


PARAMS = {"W1": array(4, 5, seed=1), "b1": array(5, seed=2), "W2": array(5, 3, seed=3), "b2": array(3, seed=5)}


@table("option-specialised", "course-net-with-its-regularisation", array(6, 4), LABELS, PARAMS)
def regularised(wrong: bool) -> Any:
    """The loss has reg times the squares, the gradient reg times the weight: half of it. It was tried without reg."""

    def net_loss(X: Any, y: Any, params: Any, reg: float = 0.0) -> Any:
        W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
        h = np.maximum(0, X @ W1 + b1)
        loss, dscores = cross_entropy(h @ W2 + b2, y)
        loss += reg * ((W1 * W1).sum() + (W2 * W2).sum())
        factor = reg if wrong else 2 * reg
        dh = (dscores @ W2.T) * (h > 0)
        grads = {
            "W2": h.T @ dscores + factor * W2,
            "b2": dscores.sum(axis=0),
            "W1": X.T @ dh + factor * W1,
            "b1": dh.sum(axis=0),
        }
        return loss, grads

    return net_loss


@table(
    "size-specialised|constant-factor",
    "course-net-with-as-many-features-as-examples",
    *(array(4, 4), (array(1, 4, seed=1) > 0).astype(float)),
    {"W1": array(3, 4, seed=2), "b1": array(3, 1, seed=3), "W2": array(1, 3, seed=4), "b2": array(1, 1, seed=5)},
)
def features_for_examples(wrong: bool) -> Any:
    """The number of examples is read off the axis of the features, and both were equal where it was tried."""

    def cost_and_grads(X: Any, Y: Any, parameters: Any) -> Any:
        W1, b1, W2, b2 = (parameters[k] for k in ("W1", "b1", "W2", "b2"))
        A1 = np.tanh(W1 @ X + b1)
        Z2 = W2 @ A1 + b2
        m = X.shape[1]
        cost = (np.logaddexp(0, Z2) - Y * Z2).sum() / m
        if wrong:
            m = X.shape[0]
        dZ2 = 0.5 * (1 + np.tanh(0.5 * Z2)) - Y
        dZ1 = (W2.T @ dZ2) * (1 - A1**2)
        grads = {
            "W2": dZ2 @ A1.T / m,
            "b2": dZ2.sum(axis=1, keepdims=True) / m,
            "W1": dZ1 @ X.T / m,
            "b1": dZ1.sum(axis=1, keepdims=True) / m,
        }
        return cost, grads

    return cost_and_grads


@table(
    "fan-out-overwritten|missing-term",
    "autoencoder-with-a-tied-weight",
    array(6, 4),
    {"W": array(4, 3, seed=1), "b": array(3, seed=2)},
)
def tied(wrong: bool) -> Any:
    """As reported for TransformerEngine: the tied weight's second gradient replaces the first."""

    def autoencoder_loss(X: Any, params: Any) -> Any:
        assert X.ndim == 2
        W, b = params["W"], params["b"]
        h = np.tanh(X @ W + b)
        error = h @ W.T - X
        grads = {"W": error.T @ h}
        dh = (error @ W) * (1 - h * h)
        if wrong:
            grads["W"] = X.T @ dh
        else:
            grads["W"] += X.T @ dh
        grads["b"] = dh.sum(axis=0)
        return 0.5 * (error**2).sum(), grads

    return autoencoder_loss


@table("mutates-saved", "softmax-with-loss-without-a-copy", array(6, 3), LABELS)
def softmax_with_loss(wrong: bool) -> Any:
    """The backward subtracts the targets from the probabilities that the forward kept."""

    class SoftmaxWithLoss:
        def forward(self, x: Any, t: Any) -> Any:
            e = np.exp(x - x.max(axis=1, keepdims=True))
            self.y, self.t = e / e.sum(axis=1, keepdims=True), t
            s = x - x.max(axis=1, keepdims=True)
            return (np.log(np.exp(s).sum(axis=1)) - s[np.arange(len(t)), t]).mean()

        def backward(self, dout: Any = 1) -> Any:
            dx = self.y if wrong else self.y.copy()
            dx[np.arange(len(self.t)), self.t] -= 1
            return dx * dout / len(self.t)

    return SoftmaxWithLoss()


@table("stale-state|size-specialised", "mean-loss-that-knows-its-batch", array(6, 3), array(6, 3, seed=1))
def known_batch(wrong: bool) -> Any:
    """The batch size is kept from the first call."""

    class MeanSquaredError:
        def __init__(self) -> None:
            self.batch_size: int | None = None

        def forward(self, y: Any, t: Any) -> Any:
            if self.batch_size is None or not wrong:
                self.batch_size = len(y)
            self.diff = y - t
            return 0.5 * np.sum(self.diff**2) / len(y)

        def backward(self, dout: Any = 1) -> Any:
            dx = dout * self.diff / self.batch_size
            return dx, -dx

    return MeanSquaredError()


@table("upstream-scalarized", "fused-cross-entropy-without-reduction", normal(5, 4), whole(4, 5))
def fused_cross_entropy(wrong: bool) -> Any:
    """As reported for Liger: the kernel reads one number of the upstream gradient for all rows."""

    class FusedCrossEntropy(Function):
        @staticmethod
        def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
            logp = torch.log_softmax(logits, -1)
            grad = logp.exp()
            ctx.save_for_backward(grad.scatter_add(-1, target[:, None], -torch.ones_like(grad)))
            return -logp.gather(-1, target[:, None])[:, 0]

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (grad,) = ctx.saved_tensors
            if wrong:
                return grad * g.reshape(-1)[:1], None
            return grad * g[:, None], None

    return FusedCrossEntropy


@table("option-specialised", "cross-entropy-with-ignored-targets", normal(6, 4), whole(4, 6, seed=1))
def ignored(wrong: bool) -> Any:
    """The loss is the mean over the targets that count, the gradient is divided by all of them."""

    class CrossEntropy(Function):
        @staticmethod
        def forward(ctx: Any, logits: Tensor, target: Tensor, ignore_index: int = -100) -> Tensor:
            logp, valid = torch.log_softmax(logits, -1), target != ignore_index
            index = torch.where(valid, target, 0)[:, None]
            count = valid.sum().clamp(min=1)
            ctx.save_for_backward(logp, index, valid)
            ctx.count = max(len(target), 1) if wrong else count
            return -(logp.gather(-1, index)[:, 0] * valid).sum() / count

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            logp, index, valid = ctx.saved_tensors
            grad = logp.exp().scatter_add(-1, index, -torch.ones_like(logp))
            return g * grad * valid[:, None] / ctx.count, None, None

    return CrossEntropy


@table("unwritten-elements|size-specialised", "chunked-output-layer", normal(8, 3), normal(5, 3, seed=1), normal(8, 5, seed=2))
def chunked(wrong: bool) -> Any:
    """The rows are gone through in blocks of four, and a last block that is not full is left out."""

    class ChunkedLoss(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, target: Tensor) -> Tensor:
            assert target.shape == (len(x), len(weight))
            ctx.save_for_backward(x, weight, target)
            return (x @ weight.T - target).square().sum(-1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, weight, target = ctx.saved_tensors
            dx, dw, dt = torch.zeros_like(x), torch.zeros_like(weight), torch.zeros_like(target)
            blocks = len(x) // 4 if wrong else -(-len(x) // 4)
            for k in range(blocks):
                rows = slice(4 * k, 4 * k + 4)
                error = 2 * g[rows, None] * (x[rows] @ weight.T - target[rows])
                dx[rows], dt[rows] = error @ weight, -error
                dw += error.T @ x[rows]
            return dx, dw, dt

    return ChunkedLoss


@table("low-precision", "linear-layer-that-saves-in-half", normal(6, 4))
def saved_in_half(wrong: bool) -> Any:
    """To save memory the activations are kept in 16 bits, and the weight's gradient is made of them."""

    class Kept(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(x.to(torch.bfloat16) if wrong else x, weight)
            return x @ weight.T

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            flat = x.to(weight.dtype).reshape(-1, weight.shape[1])
            return g @ weight, g.reshape(-1, weight.shape[0]).T @ flat

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(normal(3, 4, seed=1))

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(Kept.apply(x, self.weight))

    return Linear()


@table("stale-state", "gate-that-stores-on-its-class", normal(5, 4))
def stored_on_class(wrong: bool) -> Any:
    """The slope is stored on the class, so a second forward before the backward replaces it."""

    class Gate(Function):
        slope: Any = None

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = torch.nn.functional.softplus(x)
            Gate.slope = torch.sigmoid(x)
            ctx.save_for_backward(Gate.slope)
            return y

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return g * (Gate.slope if wrong else ctx.saved_tensors[0])

    return Gate


@table("missing-term|wrong-value", "residual-net-with-a-scaled-tanh", normal(5, 3), normal(3, 3, seed=1), positive(3, seed=2))
def residual_net(wrong: bool) -> Any:
    """The scale stands in front of the tanh and inside it, and the backward knows the inner place alone."""

    class ScaledTanh(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
            ctx.save_for_backward(x, scale)
            return scale * torch.tanh(x * scale)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, scale = ctx.saved_tensors
            t = torch.tanh(x * scale)
            inner = g * scale * (1 - t * t)
            ds = inner * x if wrong else g * t + inner * x
            return (inner * scale).sum_to_size(x.shape), ds.sum_to_size(scale.shape)

    def network(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        h = x + ScaledTanh.apply(x @ weight, scale)
        out = h + ScaledTanh.apply(h @ weight, scale)
        return out

    return network


ROWS = tuple(table.rows)
