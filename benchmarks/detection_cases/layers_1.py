"""Wrong and sound backwards of normalisation layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.library import custom_op

from tests.mistakes.registry import Table, array, normal, operator_name, positive

table = Table()


@table("mode-mismatch", "batch-norm-in-the-test-pass", array(6, 4))
def batch_norm(wrong: bool) -> Any:
    """As reported for MXNet and XLA: the test pass uses running statistics, its backward those of the batch."""

    class BatchNormalization:
        def __init__(self) -> None:
            self.gamma, self.beta = array(4, seed=1), array(4, seed=2)
            self.running_mean, self.running_var = np.full(4, 0.3), np.full(4, 1.7)
            self.dgamma = self.dbeta = None

        def forward(self, x: Any, train_flg: bool = True) -> Any:
            assert x.ndim == 2
            if train_flg:
                mu, var = x.mean(axis=0), x.var(axis=0)
                self.running_mean = 0.9 * self.running_mean + 0.1 * mu
                self.running_var = 0.9 * self.running_var + 0.1 * var
            else:
                mu, var = self.running_mean, self.running_var
            self.train_flg = train_flg
            self.std = np.sqrt(var + 1e-5)
            self.xn = (x - mu) / self.std
            return self.gamma * self.xn + self.beta

        def backward(self, dout: Any) -> Any:
            self.dbeta = dout.sum(axis=0)
            self.dgamma = (self.xn * dout).sum(axis=0)
            dxn = self.gamma * dout
            if not self.train_flg and not wrong:
                return dxn / self.std
            return (dxn - dxn.mean(axis=0) - self.xn * (dxn * self.xn).mean(axis=0)) / self.std

    return BatchNormalization()


@table("size-specialised", "root-mean-square-norm-of-more-axes", normal(5, 6), positive(6))
def rms_norm(wrong: bool) -> Any:
    """As reported for FlagGems: the backward takes everything behind the first axis as one row."""

    class RMSNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
            scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
            ctx.save_for_backward(x, weight, scale)
            return x * scale * weight

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, weight, scale = ctx.saved_tensors
            normed = x * scale
            h = (g * weight).sum_to_size(x.shape)
            n = x.numel() // x.shape[0] if wrong else x.shape[-1]
            dx = scale * (h - normed * (h * normed).sum(-1, keepdim=True) / n)
            return dx, (g * normed).sum_to_size(weight.shape), None

    return RMSNorm


@table(
    "wrong-shape|missing-broadcast-sum", "layer-norm-over-two-axes", array(5, 3, 4), array(3, 4, seed=1), array(3, 4, seed=2)
)
def layer_norm_two_axes(wrong: bool) -> Any:
    """As reported for PyTorch: the gradients of scale and shift have the last axis of their shape alone."""

    def layernorm_forward(x: Any, gamma: Any, beta: Any) -> Any:
        axes = tuple(range(x.ndim - gamma.ndim, x.ndim))
        rstd = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + 1e-5)
        xhat = (x - x.mean(axis=axes, keepdims=True)) * rstd
        return xhat * gamma + beta, (xhat, gamma, rstd, axes)

    def layernorm_backward(dout: Any, cache: Any) -> Any:
        xhat, gamma, rstd, axes = cache
        lead = tuple(range(axes[0]))
        dgamma, dbeta = (dout * xhat).sum(axis=lead), dout.sum(axis=lead)
        if wrong:
            dgamma, dbeta = dgamma.reshape(-1, gamma.shape[-1]).sum(0), dbeta.reshape(-1, gamma.shape[-1]).sum(0)
        h = dout * gamma
        dx = rstd * (h - h.mean(axis=axes, keepdims=True) - xhat * (h * xhat).mean(axis=axes, keepdims=True))
        return dx, dgamma, dbeta

    return layernorm_forward, layernorm_backward


@table("epsilon-mismatch", "instance-norm", normal(2, 3, 4, 5))
def instance_norm(wrong: bool) -> Any:
    """The forward has eps under the root, the backward adds it to the deviation."""

    class InstanceNorm:
        def forward(self, x: Tensor, eps: float = 1e-5) -> Tensor:
            self.centred, self.eps = x - x.mean((-2, -1), keepdim=True), eps
            self.var = self.centred.square().mean((-2, -1), keepdim=True)
            return self.centred / torch.sqrt(self.var + eps)

        def backward(self, dout: Tensor) -> Tensor:
            std = torch.sqrt(self.var) + self.eps if wrong else torch.sqrt(self.var + self.eps)
            xhat = self.centred / std
            dx = dout - dout.mean((-2, -1), keepdim=True)
            return (dx - xhat * (dout * xhat).mean((-2, -1), keepdim=True)) / std

    return InstanceNorm()


@table("option-specialised", "group-norm-with-groups", normal(3, 4, 5), normal(4, seed=1), normal(4, seed=2))
def group_norm(wrong: bool) -> Any:
    """The backward averages over all channels, which is right for one group, the default."""

    class GroupNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, groups: int = 1) -> Tensor:
            n, c = x.shape[:2]
            rows = x.reshape(n, groups, -1)
            rstd = torch.rsqrt(rows.var(-1, correction=0, keepdim=True) + 1e-5)
            xhat = (rows - rows.mean(-1, keepdim=True)) * rstd
            ctx.groups = 1 if wrong else groups
            ctx.save_for_backward(xhat.reshape(x.shape), rstd.expand_as(xhat).reshape(x.shape), gamma)
            affine = (1, c) + (1,) * (x.ndim - 2)
            return xhat.reshape(x.shape) * gamma.reshape(affine) + beta.reshape(affine)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            xhat, rstd, gamma = ctx.saved_tensors
            n, c = xhat.shape[:2]
            others = [0, *range(2, xhat.ndim)]
            h = (g * gamma.reshape(1, c, *(1,) * (xhat.ndim - 2))).reshape(n, ctx.groups, -1)
            rows = xhat.reshape(n, ctx.groups, -1)
            dx = h - h.mean(-1, keepdim=True) - rows * (h * rows).mean(-1, keepdim=True)
            return dx.reshape(xhat.shape) * rstd, (g * xhat).sum(others), g.sum(others), None

    return GroupNorm


@table("wrong-axis", "spatial-batch-norm", array(3, 3, 2, 4), array(3, seed=1), array(3, seed=2))
def spatial_batch_norm(wrong: bool) -> Any:
    """The gradients of scale and shift are one per image, not one per channel; as many images as channels hide the shape."""

    def spatial_batchnorm_forward(x: Any, gamma: Any, beta: Any) -> Any:
        mu = x.mean(axis=(0, 2, 3), keepdims=True)
        std = np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
        xhat = (x - mu) / std
        return gamma[None, :, None, None] * xhat + beta[None, :, None, None], (xhat, std, gamma)

    def spatial_batchnorm_backward(dout: Any, cache: Any) -> Any:
        xhat, std, gamma = cache
        over = (1, 2, 3) if wrong else (0, 2, 3)
        dbeta, dgamma = dout.sum(axis=over), (dout * xhat).sum(axis=over)
        h = dout * gamma[None, :, None, None]
        dx = h - h.mean(axis=(0, 2, 3), keepdims=True) - xhat * (h * xhat).mean(axis=(0, 2, 3), keepdims=True)
        return dx / std, dgamma, dbeta

    return spatial_batchnorm_forward, spatial_batchnorm_backward


@table("value-dependent|missing-factor", "layer-norm-at-its-first-scale", array(5, 4))
def layer_norm_first_scale(wrong: bool) -> Any:
    """The backward leaves the scale out of the input's gradient, which does not show while the scale is one."""

    class LayerNorm:
        def __init__(self) -> None:
            self.params = {"gamma": np.ones(4), "beta": np.zeros(4)}
            self.grads = {"gamma": np.zeros(4), "beta": np.zeros(4)}

        def forward(self, x: Any) -> Any:
            self.rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
            self.xhat = (x - x.mean(axis=-1, keepdims=True)) * self.rstd
            return self.xhat * self.params["gamma"] + self.params["beta"]

        def backward(self, dout: Any) -> Any:
            lead = tuple(range(dout.ndim - 1))
            self.grads["gamma"] = (dout * self.xhat).sum(axis=lead)
            self.grads["beta"] = dout.sum(axis=lead)
            h = dout if wrong else dout * self.params["gamma"]
            inner = h - h.mean(axis=-1, keepdims=True) - self.xhat * (h * self.xhat).mean(axis=-1, keepdims=True)
            return self.rstd * inner

    return LayerNorm()


@table("upstream-layout", "root-mean-square-norm-read-by-rows", normal(4, 6), positive(6))
def rms_norm_rows(wrong: bool) -> Any:
    """As reported for Unsloth: the kernel addresses the upstream gradient as if its rows lay one after another."""

    def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight

    made: Any = custom_op(operator_name("rms_norm"), rms_norm, mutates_args=(), schema="(Tensor x, Tensor weight) -> Tensor")
    made.register_fake(lambda x, weight: torch.empty_like(rms_norm(x, weight)))

    def backward(ctx: Any, grad_output: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        dy = grad_output
        if wrong and dy.numel() and dy.untyped_storage().nbytes() // dy.itemsize >= dy.storage_offset() + dy.numel():
            strides = torch.empty(dy.shape, device="meta").stride()
            dy = dy.as_strided(dy.shape, strides)
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        normed = x * scale
        h = (dy * weight).sum_to_size(x.shape)
        return scale * (h - normed * (h * normed).mean(-1, keepdim=True)), (dy * normed).sum_to_size(weight.shape)

    made.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
    return made


@table("non-finite", "layer-norm-from-its-output", normal(5, 4), positive(4, seed=1), normal(4, seed=2))
def layer_norm_from_output(wrong: bool) -> Any:
    """As in apex's memory-saving layer norm: the normed input is got back from the output, through a division by the scale."""

    class LayerNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
            rstd = torch.rsqrt(x.var(-1, correction=0, keepdim=True) + 1e-5)
            xhat = (x - x.mean(-1, keepdim=True)) * rstd
            y = xhat * gamma + beta
            ctx.save_for_backward(y if wrong else xhat, rstd, gamma, beta)
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            kept, rstd, gamma, beta = ctx.saved_tensors
            xhat = (kept - beta) / gamma if wrong else kept
            h = dy * gamma
            dx = rstd * (h - h.mean(-1, keepdim=True) - xhat * (h * xhat).mean(-1, keepdim=True))
            return dx, (dy * xhat).sum_to_size(gamma.shape), dy.sum_to_size(beta.shape)

    return LayerNorm


@table("slots-swapped", "layer-norm-module", normal(5, 4))
def layer_norm_module(wrong: bool) -> Any:
    """As reported for OneFlow: the gradients of scale and shift come back in each other's place."""

    class Kernel(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            rstd = torch.rsqrt(x.var(-1, correction=0, keepdim=True) + 1e-5)
            xhat = (x - x.mean(-1, keepdim=True)) * rstd
            ctx.save_for_backward(xhat, rstd, weight)
            return torch.addcmul(bias, xhat, weight)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            xhat, rstd, weight = ctx.saved_tensors
            h = g * weight
            dx = rstd * (h - h.mean(-1, keepdim=True) - xhat * (h * xhat).mean(-1, keepdim=True))
            dw, db = (g * xhat).sum_to_size(weight.shape), g.sum_to_size(weight.shape)
            return (dx, db, dw) if wrong else (dx, dw, db)

    class LayerNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(positive(4, seed=1)), nn.Parameter(normal(4, seed=2))

        def forward(self, x: Tensor) -> Tensor:
            return Kernel.apply(x, self.weight, self.bias)

    return LayerNorm()


@table("mutates-input", "batch-norm-centred-in-place", array(6, 4), array(4, seed=1), array(4, seed=2))
def centred_in_place(wrong: bool) -> Any:
    """The forward centres the caller's array in place to save a copy."""

    def batchnorm_forward(x: Any, gamma: Any, beta: Any) -> Any:
        assert x.ndim == 2
        mu = x.mean(axis=0)
        if wrong:
            x -= mu
        else:
            x = x - mu
        std = np.sqrt((x**2).mean(axis=0) + 1e-5)
        xhat = x / std
        return gamma * xhat + beta, (xhat, gamma, std)

    def batchnorm_backward(dout: Any, cache: Any) -> Any:
        xhat, gamma, std = cache
        dbeta, dgamma, h = dout.sum(axis=0), (dout * xhat).sum(axis=0), dout * gamma
        return (h - h.mean(axis=0) - xhat * (h * xhat).mean(axis=0)) / std, dgamma, dbeta

    return batchnorm_forward, batchnorm_backward


ROWS = tuple(table.rows)
