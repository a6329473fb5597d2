"""What single nodes of a retained graph computed, from their operands: autograd differentiates these again, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gradcheck_lab.diagnosis.retained_rules import Call, Unknown, dimensions, whole
from gradcheck_lab.torch_internals import saved


def _keep(c: Call) -> bool:
    return bool(saved(c.node, "keepdim"))


def _alpha(c: Call) -> Any:
    return saved(c.node, "alpha")


# the operand of a node from its result
INVERSES: dict[str, Callable[[Call, Tensor], Tensor]] = {
    "ExpBackward0": lambda c, y: y.log(),
    "LogBackward0": lambda c, y: y.exp(),
    "SqrtBackward0": lambda c, y: y * y,
    "RsqrtBackward0": lambda c, y: y**-2,
    "ReciprocalBackward0": lambda c, y: y.reciprocal(),
    "NegBackward0": lambda c, y: -y,
    "PowBackward0": lambda c, y: y ** (1 / saved(c.node, "exponent")),
    "AddBackward0": lambda c, y: y - c.operand(1) * _alpha(c),
    "SubBackward0": lambda c, y: y + c.operand(1) * _alpha(c),
}


def _max(c: Call, x: Tensor) -> Tensor:
    return x.max(whole(c, "dim"), keepdim=_keep(c)).values


def _convolved(c: Call, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    s = {name: saved(c.node, name) for name in ("stride", "padding", "dilation", "transposed", "output_padding", "groups")}
    result: Tensor = torch.convolution(
        x, w, b, s["stride"], s["padding"], s["dilation"], s["transposed"], s["output_padding"], s["groups"]
    )
    return result


def _pooled(c: Call, x: Tensor) -> Tensor:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    k, s, p, d, ceil = (saved(c.node, name) for name in names)
    return functional.max_pool2d(x, k, s or None, p, d, ceil)


def _averaged(c: Call, x: Tensor) -> Tensor:
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    k, s, p, ceil, include, divisor = (saved(c.node, name) for name in names)
    return functional.avg_pool2d(x, k, s or None, p, ceil, include, divisor)


def _normalised(c: Call, x: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
    # the epsilon is not kept, and torch's own is what nearly everybody uses; another shows in the retained gradients
    return functional.layer_norm(x, tuple(saved(c.node, "normalized_shape")), w, b)


def _batch_normalised(c: Call, x: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
    if not saved(c.node, "training"):
        raise Unknown
    return functional.batch_norm(x, None, None, w, b, training=True, eps=saved(c.node, "eps"))


def _reduction(c: Call) -> str:
    return ("none", "mean", "sum")[whole(c, "reduction")]


# the forward of a node from its operands, which autograd differentiates again
FORWARDS: dict[str, Callable[..., Tensor]] = {
    "AddBackward0": lambda c, x, y: x + y * _alpha(c),
    "SubBackward0": lambda c, x, y: x - y * _alpha(c),
    "NegBackward0": lambda c, x: -x,
    "MulBackward0": lambda c, x, y: x * y,
    "DivBackward0": lambda c, x, y: x / y,
    "MmBackward0": lambda c, x, y: x @ y,
    "BmmBackward0": lambda c, x, y: x @ y,
    "DotBackward0": lambda c, x, y: x @ y,
    "MvBackward0": lambda c, x, y: x @ y,
    "AddmmBackward0": lambda c, b, x, y: saved(c.node, "beta") * b + _alpha(c) * (x @ y),
    "ExpBackward0": lambda c, x: x.exp(),
    "LogBackward0": lambda c, x: x.log(),
    "Log1PBackward0": lambda c, x: x.log1p(),
    "TanhBackward0": lambda c, x: x.tanh(),
    "SigmoidBackward0": lambda c, x: x.sigmoid(),
    "ReluBackward0": lambda c, x: x.relu(),
    "SqrtBackward0": lambda c, x: x.sqrt(),
    "RsqrtBackward0": lambda c, x: x.rsqrt(),
    "SinBackward0": lambda c, x: x.sin(),
    "CosBackward0": lambda c, x: x.cos(),
    "AbsBackward0": lambda c, x: x.abs(),
    "ReciprocalBackward0": lambda c, x: x.reciprocal(),
    "PowBackward0": lambda c, x: x ** saved(c.node, "exponent"),
    "SoftmaxBackward0": lambda c, x: x.softmax(whole(c, "dim")),
    "LogSoftmaxBackward0": lambda c, x: x.log_softmax(whole(c, "dim")),
    "LogsumexpBackward0": lambda c, x: x.logsumexp(dimensions(c, x.ndim), keepdim=_keep(c)),
    "MaxBackward0": _max,
    "MinBackward0": lambda c, x: -_max(c, -x),
    "MaxBackward1": lambda c, x: x.max(),
    "MinBackward1": lambda c, x: x.min(),
    "AmaxBackward0": lambda c, x: x.amax(dimensions(c, x.ndim), keepdim=_keep(c)),
    "AminBackward0": lambda c, x: x.amin(dimensions(c, x.ndim), keepdim=_keep(c)),
    "VarBackward0": lambda c, x: x.var(dimensions(c, x.ndim), correction=saved(c.node, "correction"), keepdim=_keep(c)),
    "StdBackward0": lambda c, x: x.std(dimensions(c, x.ndim), correction=saved(c.node, "correction"), keepdim=_keep(c)),
    "SumBackward0": lambda c, x: x.sum(),
    "SumBackward1": lambda c, x: x.sum(dimensions(c, x.ndim), keepdim=_keep(c)),
    "MeanBackward0": lambda c, x: x.mean(),
    "MeanBackward1": lambda c, x: x.mean(dimensions(c, x.ndim), keepdim=_keep(c)),
    "TBackward0": lambda c, x: x.t(),
    "TransposeBackward0": lambda c, x: x.transpose(whole(c, "dim0"), whole(c, "dim1")),
    "PermuteBackward0": lambda c, x: x.permute(saved(c.node, "dims")),
    "GeluBackward0": lambda c, x: functional.gelu(x, approximate=saved(c.node, "approximate")),
    "SiluBackward0": lambda c, x: functional.silu(x),
    "SoftplusBackward0": lambda c, x: functional.softplus(x, saved(c.node, "beta"), saved(c.node, "threshold")),
    "LeakyReluBackward0": lambda c, x: functional.leaky_relu(x, saved(c.node, "negative_slope")),
    "ClampBackward1": lambda c, x: x.clamp(saved(c.node, "min"), saved(c.node, "max")),
    "ClampMinBackward0": lambda c, x: x.clamp_min(saved(c.node, "min")),
    "LinalgVectorNormBackward0": lambda c, x: torch.linalg.vector_norm(
        x, saved(c.node, "ord"), saved(c.node, "dim"), keepdim=_keep(c)
    ),
    "MseLossBackward0": lambda c, x, y: functional.mse_loss(x, y, reduction=_reduction(c)),
    "ConvolutionBackward0": _convolved,
    "MaxPool2DWithIndicesBackward0": _pooled,
    "AvgPool2DBackward0": _averaged,
    "NativeLayerNormBackward0": _normalised,
    "NativeBatchNormBackward0": _batch_normalised,
    **{name: lambda c, x: x.reshape(c.result_shape()) for name in (
        "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "SqueezeBackward0", "SqueezeBackward1",
        "UnsqueezeBackward0", "CloneBackward0", "AliasBackward0", "ToCopyBackward0",
    )},
}  # fmt: skip


# nodes that pick by whole numbers, by the functions that do it again with one of the user's tensors of whole numbers
PICKS: dict[str, tuple[Callable[[Call, Tensor, Tensor], Tensor], ...]] = {
    "IndexBackward0": (
        lambda c, x, at: x[at],
        lambda c, x, at: x[torch.arange(x.shape[0], device=x.device), at],
    ),
    "GatherBackward0": (
        lambda c, x, at: x.gather(whole(c, "dim"), at),
        lambda c, x, at: x.gather(whole(c, "dim"), at.unsqueeze(-1)),
    ),
    "EmbeddingBackward0": (lambda c, x, at: functional.embedding(at, x),),
    "NllLossBackward0": (
        lambda c, x, at: functional.nll_loss(x, at, reduction=_reduction(c), ignore_index=whole(c, "ignore_index")),
    ),
}
