"""Transposed, gathering and triangular kernels that are wrong on some calls, after reports in public issue trackers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from tests.mistakes.registry import Table, normal

table = Table()
BLOCK = 4


@table("option-specialised", "output-padding-cut-at-the-front", normal(2, 3, 5), normal(3, 4, 3, seed=1))
def output_padding(wrong: bool) -> Any:
    """A transposed convolution's extra outputs lie at the end; the backward cuts them off at the front."""

    class ConvTranspose(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int = 2, output_padding: int = 0) -> Tensor:
            if x.dim() != 3:
                raise ValueError("expected (batch, channels, length)")
            ctx.save_for_backward(x, weight)
            ctx.stride, ctx.extra = stride, output_padding
            return F.conv_transpose1d(x, weight, stride=stride, output_padding=output_padding)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            dy = dy[..., ctx.extra :] if wrong else dy[..., : dy.shape[-1] - ctx.extra]
            dx = F.conv1d(dy, weight, stride=ctx.stride)
            windows = dy.unfold(-1, weight.shape[-1], ctx.stride)
            return dx, torch.einsum("nct,notk->cok", x, windows), None, None

    return ConvTranspose


@table("size-specialised", "window-as-long-as-the-input", normal(2, 3, 7))
def whole_window(wrong: bool) -> Any:
    """One window over everything takes a fast path that spreads the gradient and forgets to divide."""

    class AvgPool(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, kernel: int = 3) -> Tensor:
            ctx.kernel, ctx.shape = kernel, x.shape
            return x.unfold(-1, kernel, 1).mean(-1)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            if dy.shape[-1] == 1:
                return (dy if wrong else dy / ctx.kernel).expand(ctx.shape).clone(), None
            dx = torch.zeros(ctx.shape, dtype=dy.dtype)
            for tap in range(ctx.kernel):
                dx[..., tap : tap + dy.shape[-1]] += dy / ctx.kernel
            return dx, None

    return AvgPool


@table("option-specialised", "upsampling-with-aligned-corners", normal(1, 2, 2))
def upsample(wrong: bool) -> Any:
    """Each input gathers a window sized by out / in, too small where corners are aligned, as reported for FlagGems."""

    class Upsample(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, size: int = 10, align_corners: bool = False) -> Tensor:
            ctx.aligned, ctx.length = align_corners, x.shape[-1]
            return F.interpolate(x, size, mode="linear", align_corners=align_corners)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            length, size = ctx.length, dy.shape[-1]
            out = torch.arange(size, dtype=torch.float64)
            if ctx.aligned:
                source = out * ((length - 1) / (size - 1) if size > 1 else 0)
                stretch = (size - 1) / (length - 1) if length > 1 else size
            else:
                source = ((out + 0.5) * length / size - 0.5).clamp(0, length - 1)
                stretch = size / length
            reach = size / length if wrong else stretch
            grads = dy.to(torch.promote_types(dy.dtype, torch.float32))
            columns = []
            for i in range(length):
                center = i * stretch if ctx.aligned else (i + 0.5) * stretch - 0.5
                first = max(math.floor(center - reach), 0)
                last = min(math.ceil(center + reach), size - 1)
                share = (1 - (source[first : last + 1] - i).abs()).clamp(min=0).to(grads.dtype)
                columns.append((grads[..., first : last + 1] * share).sum(-1))
            return torch.stack(columns, -1).to(dy.dtype), None, None

    return Upsample


@table("size-specialised", "blocks-above-the-diagonal", normal(4, 4), normal(4, 3, seed=1))
def triangular_product(wrong: bool) -> Any:
    """The gradient is masked inside the diagonal blocks, while the blocks above them are stored whole."""

    class TriangularProduct(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, x: Tensor) -> Tensor:
            if a.dim() != 2 or x.dim() != 2:
                raise ValueError("expected two matrices")
            ctx.save_for_backward(a, x)
            return a.tril() @ x

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            a, x = ctx.saved_tensors
            da = torch.zeros_like(a)
            for i in range(0, a.shape[0], BLOCK):
                for j in range(0, a.shape[1], BLOCK):
                    if j > i and not wrong:
                        continue
                    tile = dy[i : i + BLOCK] @ x[j : j + BLOCK].mT
                    da[i : i + BLOCK, j : j + BLOCK] = tile.tril() if i == j else tile
            return da, a.tril().mT @ dy

    return TriangularProduct


@table("size-specialised", "mask-in-whole-bytes", normal(6, 4))
def packed_mask(wrong: bool) -> Any:
    """The mask of a ReLU is packed eight to a byte; elements after the last whole byte get no gradient."""

    class PackedRelu(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            bits = (x > 0).reshape(-1)
            spare = -bits.numel() % 8
            bits = bits[: bits.numel() - bits.numel() % 8] if wrong else F.pad(bits, (0, spare))
            ctx.packed = (bits.view(-1, 8) << torch.arange(8)).sum(-1).to(torch.uint8)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            mask = torch.zeros(dy.numel(), dtype=torch.bool)
            bits = ((ctx.packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1).bool().reshape(-1)[: dy.numel()]
            mask[: bits.numel()] = bits
            return torch.where(mask.view(dy.shape), dy, 0)

    return PackedRelu


@table("size-specialised", "column-in-four-bits", normal(5, 6))
def packed_column(wrong: bool) -> Any:
    """The column of each row's maximum is kept in four bits: columns from 16 on come back too small."""

    class RowMaximum(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            value, column = x.max(-1)
            ctx.shape = x.shape
            ctx.column = (column & 15).to(torch.uint8) if wrong else column
            return value

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            dx = torch.zeros(ctx.shape, dtype=dy.dtype)
            return dx.scatter_(-1, ctx.column.long().unsqueeze(-1), dy.unsqueeze(-1))

    return RowMaximum


@table("duplicate-index", "run-of-equal-indices-over-two-blocks", normal(6, 3), torch.tensor([3, 0, 2, 0, 4, 1]))
def embedding_runs(wrong: bool) -> Any:
    """Sorted indices are reduced by blocks of four that store their sums: a run over two blocks loses its first part."""

    class Embedding(Function):
        @staticmethod
        def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
            ctx.save_for_backward(index)
            ctx.shape = table.shape
            return table[index]

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            (index,) = ctx.saved_tensors
            order = index.reshape(-1).argsort(stable=True)
            keys = index.reshape(-1)[order].tolist()
            grads = dy.reshape(len(keys), -1)[order] if keys else dy.new_zeros(0, 1)
            dtable = torch.zeros(ctx.shape, dtype=dy.dtype)
            rows = dtable.view(ctx.shape[0], -1)
            for start in range(0, len(keys), BLOCK):
                sums: dict[int, Tensor] = {}
                for key, grad in zip(keys[start : start + BLOCK], grads[start : start + BLOCK], strict=True):
                    sums[key] = sums[key] + grad if key in sums else grad
                for key, total in sums.items():
                    rows[key] = total if wrong else rows[key] + total
            return dtable, None

    return Embedding


@table("aliased-inputs", "one-buffer-in-two-slots", normal(5, 4), normal(5, 4, seed=1))
def one_buffer(wrong: bool) -> Any:
    """Where both operands lie at one address the kernel computes one gradient and reports none for the other."""

    class Multiply(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
            if a.shape != b.shape:
                raise ValueError("expected operands of one shape")
            ctx.save_for_backward(a, b)
            return a * torch.sigmoid(b)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            a, b = ctx.saved_tensors
            s = torch.sigmoid(b)
            da = dy * s
            if wrong and a.data_ptr() == b.data_ptr():
                return da, None
            return da, dy * a * s * (1 - s)

    return Multiply


ROWS = tuple(table.rows)
