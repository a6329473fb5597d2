"""What single nodes of a retained graph send back, where it follows from sizes or from their result.

A node that has run its backward has freed the tensors that it saved. Its kind and its sizes stay, and its operands and result
are among the user's variables; so its vector-Jacobian product can be computed again, in float64 and beside its point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from gradcheck_lab.torch_internals import saved


class Unknown(Exception):
    """What a node computed cannot be computed again: an operand is at hand nowhere, or its kind is not known."""


class Call(Protocol):
    """One node with what it was called with."""

    node: Any

    def operand(self, position: int) -> Tensor: ...

    def result(self) -> Tensor: ...

    def shape(self, position: int) -> tuple[int, ...]: ...

    def result_shape(self) -> tuple[int, ...]: ...


Send = Callable[[Call, Tensor], Sequence[Tensor | None]]


def whole(call: Call, name: str) -> int:
    """A whole number that a node saved."""
    value = int(saved(call.node, name))
    return value - 2**64 if value >= 2**63 else value  # torch hands out negative numbers as unsigned ones


def dimensions(call: Call, rank: int) -> list[int]:
    """The dimensions that a node reduced, of a tensor of so many."""
    dim = saved(call.node, "dim")
    dims = [dim] if isinstance(dim, int) else list(dim or range(rank))
    return sorted((d - 2**64 if d >= 2**63 else d) % max(rank, 1) for d in dims)


def _sizes(call: Call) -> tuple[int, ...]:
    sizes = saved(call.node, "self_sym_sizes")
    return call.shape(0) if sizes is None else tuple(sizes)


def _spread(call: Call, grad: Tensor) -> Tensor:
    """The gradient of a sum over dimensions: that of the result, in every place."""
    sizes = _sizes(call)
    if not saved(call.node, "keepdim"):
        for dim in dimensions(call, len(sizes)) if grad.ndim < len(sizes) else ():
            grad = grad.unsqueeze(dim)
    return grad.expand(sizes)


def _mean(call: Call, grad: Tensor) -> list[Tensor | None]:
    spread = _spread(call, grad)
    return [spread * (math.prod(call.result_shape()) / max(spread.numel(), 1))]


def _added(first: Callable[[Call], Any], second: Callable[[Call], Any]) -> Send:
    def send(call: Call, grad: Tensor) -> list[Tensor | None]:
        factors = [first(call), second(call)][: len(call.node.next_functions)]
        wanted = [source is not None for source, _ in call.node.next_functions]
        return [(grad * f).sum_to_size(call.shape(k)) if wanted[k] else None for k, f in enumerate(factors)]

    return send


def _put(call: Call, grad: Tensor, where: Callable[[Tensor], Tensor]) -> list[Tensor | None]:
    zeros = grad.new_zeros(_sizes(call))
    where(zeros).add_(grad)
    return [zeros]


def _slice(call: Call, zeros: Tensor) -> Tensor:
    at: list[Any] = [slice(None)] * zeros.ndim
    dim = whole(call, "dim")
    at[dim] = slice(whole(call, "start"), whole(call, "end"), whole(call, "step"))
    return zeros[tuple(at)]


def _alpha(call: Call) -> Any:
    return saved(call.node, "alpha")


def _parts(call: Call, grad: Tensor) -> list[Tensor | None]:
    sizes = [call.shape(k)[whole(call, "dim")] for k in range(len(call.node.next_functions))]
    return list(grad.split(sizes, whole(call, "dim")))


# the gradients that linear nodes send back: these need no value
LINEAR: dict[str, Send] = {
    "AddBackward0": _added(lambda c: 1, _alpha),
    "SubBackward0": _added(lambda c: 1, lambda c: -_alpha(c)),
    "RsubBackward1": lambda c, g: [-_alpha(c) * g],
    "NegBackward0": lambda c, g: [-g],
    "SumBackward0": lambda c, g: [_spread(c, g)],
    "SumBackward1": lambda c, g: [_spread(c, g)],
    "MeanBackward0": _mean,
    "MeanBackward1": _mean,
    "ExpandBackward0": lambda c, g: [g.sum_to_size(_sizes(c))],
    "TBackward0": lambda c, g: [g.t()],
    "TransposeBackward0": lambda c, g: [g.transpose(whole(c, "dim0"), whole(c, "dim1"))],
    "PermuteBackward0": lambda c, g: [g.permute([list(saved(c.node, "dims")).index(k) for k in range(g.ndim)])],
    "SelectBackward0": lambda c, g: _put(c, g, lambda zeros: zeros.select(whole(c, "dim"), whole(c, "index"))),
    "SliceBackward0": lambda c, g: _put(c, g, lambda zeros: _slice(c, zeros)),
    "CatBackward0": _parts,
    "StackBackward0": lambda c, g: list(g.unbind(whole(c, "dim"))),
    **{name: lambda c, g: [g.reshape(c.shape(0))] for name in (
        "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "SqueezeBackward0", "SqueezeBackward1",
        "SqueezeBackward2", "UnsqueezeBackward0", "CloneBackward0", "AliasBackward0", "ToCopyBackward0", "ContiguousBackward0",
    )},
}  # fmt: skip

# those that follow from the result, which such a node keeps in place of its operand
FROM_RESULT: dict[str, Callable[[Call, Tensor, Tensor], Tensor]] = {
    "ExpBackward0": lambda c, g, y: g * y.conj(),
    "TanhBackward0": lambda c, g, y: g * (1 - y * y).conj(),
    "SigmoidBackward0": lambda c, g, y: g * (y * (1 - y)).conj(),
    "SqrtBackward0": lambda c, g, y: g / (2 * y).conj(),
    "RsqrtBackward0": lambda c, g, y: g * (-0.5 * y**3).conj(),
    "ReciprocalBackward0": lambda c, g, y: g * (-y * y).conj(),
    "ReluBackward0": lambda c, g, y: torch.where(y > 0, g, 0.0),
    "SoftmaxBackward0": lambda c, g, y: y * (g - (g * y).sum(whole(c, "dim"), keepdim=True)),
    "LogSoftmaxBackward0": lambda c, g, y: g - y.exp() * g.sum(whole(c, "dim"), keepdim=True),
}

# which value a node picks is no matter of rounding: these are not moved off their operands
SELECTING = frozenset(
    f"{kind}Backward{k}"
    for kind in ("Max", "Min", "Amax", "Amin", "Relu", "Abs", "Clamp", "ClampMin", "LeakyRelu", "MaxPool2DWithIndices")
    for k in (0, 1)
)
# these copy each element of what they are given, or multiply it by a number: no two elements are added
UNMIXED = frozenset(
    {
        *("MulBackward0", "DivBackward0", "NegBackward0", "SumBackward0", "SumBackward1", "MeanBackward0", "MeanBackward1"),
        *("IndexBackward0", "GatherBackward0", "SelectBackward0", "SliceBackward0", "NllLossBackward0", "EmbeddingBackward0"),
        *("MaskedFillBackward0", "WhereBackward0", "ViewBackward0", "UnsafeViewBackward0", "SqueezeBackward0"),
        *("SqueezeBackward1", "UnsqueezeBackward0", "TBackward0", "TransposeBackward0", "PermuteBackward0", "CloneBackward0"),
        *("AddBackward0", "SubBackward0", "RsubBackward1", "CatBackward0", "StackBackward0", "ToCopyBackward0"),
    }
)

# what live nodes call the operands that they saved
OPERANDS: dict[str, tuple[str, ...]] = {
    **{name: ("self", "other") for name in ("MulBackward0", "DivBackward0", "PowBackward1")},
    **{name: ("self", "mat2") for name in ("MmBackward0", "BmmBackward0")},
    "AddmmBackward0": ("", "mat1", "mat2"),
    "DotBackward0": ("self", "tensor"),
    "MvBackward0": ("self", "vec"),
    "MseLossBackward0": ("self", "target"),
    "ConvolutionBackward0": ("input", "weight"),
    "NativeLayerNormBackward0": ("input", "weight", "bias"),
    "NativeBatchNormBackward0": ("input", "weight"),
}

# operands that a call may do without: one that no gradient flows to counts as left out
OPTIONAL: dict[str, tuple[int, ...]] = {
    "ConvolutionBackward0": (2,),
    "NativeLayerNormBackward0": (1, 2),
    "NativeBatchNormBackward0": (1, 2),
}

# products whose sizes say which of the user's variables was an operand
SIZED = frozenset({"MmBackward0", "BmmBackward0", "MvBackward0", "AddmmBackward0", "ConvolutionBackward0"})
