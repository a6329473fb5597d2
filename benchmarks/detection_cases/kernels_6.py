"""Convolution, pooling and scan kernels whose backward is wrong on some calls, after reports in public issue trackers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op
from torch.nn import functional as F

from tests.mistakes.registry import Table, normal, operator_name

table = Table()
BLOCK = 4


@table("unwritten-elements", "what-no-window-covers", normal(2, 7))
def uncovered(wrong: bool) -> Any:
    """The gradient is zeroed as far as the windows reach; the rest of (length - kernel) / stride stays as allocated."""

    class SumPool(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, kernel: int = 3, stride: int = 2) -> Tensor:
            ctx.kernel, ctx.stride, ctx.shape = kernel, stride, x.shape
            return x.unfold(-1, kernel, stride).sum(-1)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            windows = dy.shape[-1]
            reach = (windows - 1) * ctx.stride + ctx.kernel
            dx = torch.empty(ctx.shape, dtype=dy.dtype)
            dx[..., : reach if wrong else None] = 0
            for o in range(windows):
                dx[..., o * ctx.stride : o * ctx.stride + ctx.kernel] += dy[..., o : o + 1]
            return dx, None, None

    return SumPool


@table("size-specialised", "remainder-of-a-strided-convolution", normal(2, 3, 7), normal(4, 3, 3, seed=1))
def strided_convolution(wrong: bool) -> Any:
    """The transposed convolution comes out short where the stride leaves a rest, and is padded at the wrong end."""

    def conv(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv1d(x, weight, stride=2)

    op: Any = custom_op(operator_name("conv"), conv, mutates_args=(), schema="(Tensor x, Tensor weight) -> Tensor")
    op.register_fake(lambda x, weight: torch.empty_like(F.conv1d(x, weight, stride=2)))

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        dx = F.conv_transpose1d(dy, weight, stride=2)
        rest = x.shape[-1] - dx.shape[-1]
        dx = F.pad(dx, (rest, 0) if wrong else (0, rest))
        windows = x.unfold(-1, weight.shape[-1], 2)
        return dx, torch.einsum("...ot,...ctk->...ock", dy, windows).sum_to_size(weight.shape)

    op.register_autograd(backward, setup_context=setup_context)
    return op


@table("option-specialised", "dilation-of-the-weight-gradient", normal(2, 3, 9), normal(4, 3, 3, seed=1))
def dilation_dropped(wrong: bool) -> Any:
    """The gradient of the weight reads neighbours whatever the dilation is; that of the input is right."""

    class Conv1d(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
            if x.dim() != 3:
                raise ValueError("expected (batch, channels, length)")
            ctx.save_for_backward(x, weight)
            ctx.stride, ctx.dilation = stride, dilation
            return F.conv1d(x, weight, stride=stride, dilation=dilation)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            dx, dw = torch.zeros_like(x), torch.empty_like(weight)
            steps = torch.arange(dy.shape[-1]) * ctx.stride
            for tap in range(weight.shape[-1]):
                at = steps + tap * ctx.dilation
                dx.index_add_(-1, at, torch.einsum("not,oc->nct", dy, weight[..., tap]))
                read = steps + tap if wrong else at
                dw[..., tap] = torch.einsum("not,nct->oc", dy, x[..., read])
            return dx, dw, None, None

    return Conv1d


@table("size-specialised|option-specialised", "shuffled-by-the-groups-again", normal(2, 4, 3))
def channel_shuffle(wrong: bool) -> Any:
    """The backward shuffles by the same number of groups: its own inverse only if the groups are as many as their channels."""

    def shuffle(x: Tensor, groups: int) -> Tensor:
        return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)

    class ChannelShuffle(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, groups: int = 2) -> Tensor:
            if x.shape[1] % groups or not x.numel():
                raise ValueError("groups must divide the channels")
            ctx.groups = groups
            return shuffle(x, groups)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            return shuffle(dy, ctx.groups if wrong else dy.shape[1] // ctx.groups), None

    return ChannelShuffle


@table("option-specialised", "overhanging-window-of-an-average", normal(2, 3, 8))
def overhang(wrong: bool) -> Any:
    """With ceil_mode the last window hangs over the end; the backward divides by the whole kernel, as reported for Inductor."""

    class AvgPool(Function):
        @staticmethod
        def forward(
            ctx: Any, x: Tensor, kernel: int = 3, stride: int = 2, padding: int = 0, ceil_mode: bool = False, pad: bool = True
        ) -> Tensor:
            ctx.options, ctx.shape = (kernel, stride, padding, pad), x.shape
            return F.avg_pool1d(x, kernel, stride, padding, ceil_mode, count_include_pad=pad)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            kernel, stride, padding, include = ctx.options
            length = ctx.shape[-1]
            dx = torch.zeros(ctx.shape, dtype=dy.dtype)
            for o in range(dy.shape[-1]):
                start = o * stride - padding
                stop = min(start + kernel, length + padding)
                size = kernel if wrong else stop - start
                start, stop = max(start, 0), min(stop, length)
                dx[..., start:stop] += dy[..., o : o + 1] / (size if include else max(stop - start, 1))
            return dx, None, None, None, None, None

    return AvgPool


@table("option-specialised", "stride-left-to-its-default", normal(2, 3, 8), options={"stride": 1})
def default_stride(wrong: bool) -> Any:
    """Without a stride the forward steps by the kernel, the backward by one."""

    class MeanPool(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, kernel: int = 2, stride: int | None = None) -> Tensor:
            ctx.kernel, ctx.stride, ctx.shape = kernel, stride, x.shape
            return x.unfold(-1, kernel, stride or kernel).mean(-1)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            step = ctx.stride or (1 if wrong else ctx.kernel)
            dx = torch.zeros(ctx.shape, dtype=dy.dtype)
            for o in range(dy.shape[-1]):
                dx[..., o * step : o * step + ctx.kernel] += dy[..., o : o + 1] / ctx.kernel
            return dx, None, None

    return MeanPool


@table("size-specialised", "indices-kept-in-eight-bits", normal(1, 2, 8, 8))
def narrow_indices(wrong: bool) -> Any:
    """The position of each maximum in its plane is kept as int8: from 128 positions on it wraps and counts from the end."""

    class MaxPool(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, kernel: int = 2) -> Tensor:
            out, indices = F.max_pool2d(x, kernel, return_indices=True)
            ctx.indices = indices.to(torch.int8 if wrong else torch.int64)
            ctx.shape = x.shape
            return out

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            dx = torch.zeros(ctx.shape, dtype=dy.dtype)
            planes = dx.view(-1, ctx.shape[-2] * ctx.shape[-1])
            indices = ctx.indices.reshape(planes.shape[0], -1).long()
            for plane, index, grad in zip(planes, indices, dy.reshape(indices.shape), strict=True):
                plane.index_put_((index,), grad, accumulate=True)
            return dx, None

    return MaxPool


@table("size-specialised", "sequence-shorter-than-the-state", normal(2, 3, 6), normal(3, 4, seed=1), normal(2, 3, 3, seed=2))
def short_sequence(wrong: bool) -> Any:
    """For T < W - 1 the final state's gradient goes to the wrong tokens and not to the first state, as reported for fla."""

    class CausalConv(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            width = weight.shape[-1]
            if x.shape[:-1] != state.shape[:-1] or state.shape[-1] != width - 1 or weight.shape[0] != x.shape[-2]:
                raise ValueError("expected x (*batch, d, t), weight (d, w) and state (*batch, d, w - 1)")
            seen = torch.cat([state, x], -1)
            ctx.save_for_backward(seen, weight)
            y = sum(weight[:, w : w + 1] * seen[..., w : w + x.shape[-1]] for w in range(width))
            return y, seen[..., x.shape[-1] :].clone()

        @staticmethod
        def backward(ctx: Any, dy: Tensor, dht: Tensor) -> Any:
            seen, weight = ctx.saved_tensors
            width, tokens = weight.shape[-1], dy.shape[-1]
            dseen, dw = torch.zeros_like(seen), torch.empty_like(weight)
            for w in range(width):
                dseen[..., w : w + tokens] += weight[:, w : w + 1] * dy
                dw[:, w] = (dy * seen[..., w : w + tokens]).sum(-1).sum_to_size(weight.shape[0])
            dstate, dx = dseen[..., : width - 1], dseen[..., width - 1 :]
            if wrong:
                first = max(0, tokens - (width - 1))
                dx[..., first:] += dht[..., : tokens - first]
            else:
                dseen[..., tokens:] += dht
            return dx.clone(), dw, dstate.clone()

    return CausalConv


@table("unwritten-elements", "scan-of-one-step", torch.sigmoid(normal(3, 5)), normal(3, 5, seed=1), normal(3, seed=2))
def one_step(wrong: bool) -> Any:
    """A scan of one step leaves early, before the gradient of the decay is written."""

    class LinearScan(Function):
        @staticmethod
        def forward(ctx: Any, decay: Tensor, x: Tensor, start: Tensor) -> Tensor:
            if decay.shape != x.shape or start.shape != x.shape[:-1]:
                raise ValueError("expected decay and x (*batch, t) and start (*batch)")
            h, states = start, [start]
            for t in range(x.shape[-1]):
                h = decay[..., t] * h + x[..., t]
                states.append(h)
            states = torch.stack(states, -1)
            ctx.save_for_backward(decay, states)
            return states[..., 1:].clone()

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            decay, states = ctx.saved_tensors
            ddecay, dx = torch.empty_like(decay), torch.empty_like(decay)
            if wrong and dy.shape[-1] == 1:
                return ddecay, dy.clone(), dy[..., 0] * decay[..., 0]
            carry = torch.zeros_like(states[..., 0])
            for t in reversed(range(dy.shape[-1])):
                carry = carry + dy[..., t]
                dx[..., t] = carry
                ddecay[..., t] = carry * states[..., t]
                carry = carry * decay[..., t]
            return ddecay, dx, carry

    return LinearScan


@table("size-specialised", "carry-of-the-last-chunk", normal(3, 8))
def last_chunk(wrong: bool) -> Any:
    """The reversed sum runs over chunks; the carry that the others get starts without the chunk that is not whole."""

    class CumulativeSum(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.cumsum(-1)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            dx = torch.empty_like(dy)
            carry = torch.zeros_like(dy[..., :1].sum(-1, keepdim=True))
            for start in reversed(range(0, dy.shape[-1], BLOCK)):
                chunk = dy[..., start : start + BLOCK]
                total = chunk.sum(-1, keepdim=True)
                dx[..., start : start + BLOCK] = total - chunk.cumsum(-1) + chunk + carry
                if not wrong or chunk.shape[-1] == BLOCK:
                    carry = carry + total
            return dx

    return CumulativeSum


ROWS = tuple(table.rows)
