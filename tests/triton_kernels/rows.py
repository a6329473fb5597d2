"""Kernels over rows: softmax, layer norm, cross-entropy and a scan."""

import pytest
import torch

pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")

import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function

from tests.triton_kernels.row import Kernel, causes


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@triton.jit
def softmax_forward(x_ptr, y_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * columns + offsets, mask=offsets < columns, other=-float("inf"))
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(y_ptr + row * columns + offsets, e / tl.sum(e, axis=0), mask=offsets < columns)


@triton.jit
def softmax_backward(y_ptr, g_ptr, dx_ptr, columns, BLOCK: tl.constexpr, MISTAKE: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < columns
    y = tl.load(y_ptr + row * columns + offsets, mask=mask, other=0.0)
    if MISTAKE == "tail read":
        g = tl.load(g_ptr + row * columns + offsets)
        y = tl.load(y_ptr + row * columns + offsets)
    else:
        g = tl.load(g_ptr + row * columns + offsets, mask=mask, other=0.0)
    dot = tl.sum(y * g, axis=0)
    dx = y * g if MISTAKE == "no sum" else y * (g - dot)
    if MISTAKE == "tail written":
        tl.store(dx_ptr + row * columns + offsets, dx)
    else:
        tl.store(dx_ptr + row * columns + offsets, dx, mask=mask)


def softmax(mistake: str) -> type[Function]:
    class Softmax(Function):
        @staticmethod
        def forward(ctx, x):
            x = x.contiguous()
            y, columns = torch.empty_like(x), x.shape[-1]
            softmax_forward[(x.numel() // columns,)](x, y, columns, BLOCK=triton.next_power_of_2(columns))
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            g, dx, columns = g.contiguous(), torch.empty_like(y), y.shape[-1]
            grid = (y.numel() // columns,)
            softmax_backward[grid](y, g, dx, columns, BLOCK=triton.next_power_of_2(columns), MISTAKE=mistake)
            return dx

    return Softmax


@triton.jit
def norm_forward(x_ptr, w_ptr, b_ptr, y_ptr, mean_ptr, rstd_ptr, columns, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < columns
    x = tl.load(x_ptr + row * columns + offsets, mask=mask, other=0.0)
    mean = tl.sum(x, axis=0) / columns
    centred = tl.where(mask, x - mean, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(centred * centred, axis=0) / columns + eps)
    w = tl.load(w_ptr + offsets, mask=mask, other=0.0)
    b = tl.load(b_ptr + offsets, mask=mask, other=0.0)
    tl.store(y_ptr + row * columns + offsets, centred * rstd * w + b, mask=mask)
    tl.store(mean_ptr + row, mean)
    tl.store(rstd_ptr + row, rstd)


@triton.jit
def norm_backward(x_ptr, w_ptr, g_ptr, mean_ptr, rstd_ptr, dx_ptr, dw_ptr, db_ptr, columns, BLOCK: tl.constexpr,
                  MISTAKE: tl.constexpr):  # fmt: skip
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < columns
    x = tl.load(x_ptr + row * columns + offsets, mask=mask, other=0.0)
    g = tl.load(g_ptr + row * columns + offsets, mask=mask, other=0.0)
    w = tl.load(w_ptr + offsets, mask=mask, other=0.0)
    rstd = tl.load(rstd_ptr + row)
    normalised = tl.where(mask, (x - tl.load(mean_ptr + row)) * rstd, 0.0)
    wg = w * g
    first = tl.sum(wg, axis=0) / columns
    second = tl.sum(wg * normalised, axis=0) / columns
    if MISTAKE == "no second term":
        second = 0.0
    tl.store(dx_ptr + row * columns + offsets, rstd * (wg - first - normalised * second), mask=mask)
    if MISTAKE == "no atomics":
        tl.store(dw_ptr + offsets, tl.load(dw_ptr + offsets, mask=mask) + g * normalised, mask=mask)
    else:
        tl.atomic_add(dw_ptr + offsets, g * normalised, mask=mask)
    tl.atomic_add(db_ptr + offsets, g, mask=mask)


def layer_norm(mistake: str) -> type[Function]:
    class LayerNorm(Function):
        @staticmethod
        def forward(ctx, x, w, b):
            x, columns = x.contiguous(), x.shape[-1]
            rows = x.numel() // columns
            y, mean = torch.empty_like(x), x.new_empty(rows)
            rstd = torch.empty_like(mean)
            block = triton.next_power_of_2(columns)
            norm_forward[(rows,)](x, w.contiguous(), b.contiguous(), y, mean, rstd, columns, 1e-5, BLOCK=block)
            ctx.save_for_backward(x, w, mean, rstd)
            return y

        @staticmethod
        def backward(ctx, g):
            x, w, mean, rstd = ctx.saved_tensors
            columns, w, dx = x.shape[-1], w.contiguous(), torch.empty_like(x)
            make = torch.empty_like if mistake == "empty buffer" else torch.zeros_like
            dw, db = make(w), torch.zeros_like(w)
            norm_backward[(x.numel() // columns,)](
                x, w, g.contiguous(), mean, rstd, dx, dw, db, columns, BLOCK=triton.next_power_of_2(columns), MISTAKE=mistake
            )
            return dx, dw, db

    return LayerNorm


@triton.jit
def loss_forward(x_ptr, label_ptr, loss_ptr, dx_ptr, columns, ignored, BLOCK: tl.constexpr, MISTAKE: tl.constexpr):
    row = tl.program_id(0)
    label = tl.load(label_ptr + row)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < columns
    x = tl.load(x_ptr + row * columns + offsets, mask=mask, other=-float("inf"))
    top = tl.max(x, axis=0)
    total = tl.sum(tl.exp(x - top), axis=0)
    p = tl.exp(x - top) / total
    at_label = tl.sum(tl.where(offsets == label, x, 0.0), axis=0)
    loss = tl.log(total) + top - at_label
    dx = p if MISTAKE == "label kept" else tl.where(offsets == label, p - 1.0, p)
    if label == ignored:
        loss = loss * 0.0
        if MISTAKE != "ignored rows":
            dx = dx * 0.0
    tl.store(loss_ptr + row, loss)
    tl.store(dx_ptr + row * columns + offsets, dx, mask=mask)


@triton.jit
def loss_backward(dx_ptr, g_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < columns
    dx = tl.load(dx_ptr + row * columns + offsets, mask=mask)
    tl.store(dx_ptr + row * columns + offsets, dx * tl.load(g_ptr + row), mask=mask)


def cross_entropy(mistake: str) -> type[Function]:
    class CrossEntropy(Function):
        @staticmethod
        def forward(ctx, x, labels):
            x, labels, (rows, columns) = x.contiguous(), labels.contiguous(), x.shape
            loss, dx = x.new_empty(rows), x if mistake == "written in place" else torch.empty_like(x)
            block = triton.next_power_of_2(columns)
            loss_forward[(rows,)](x, labels, loss, dx, columns, 0, BLOCK=block, MISTAKE=mistake)
            ctx.save_for_backward(dx)
            return loss

        @staticmethod
        def backward(ctx, g):
            (dx,) = ctx.saved_tensors
            dx = dx if mistake == "saved overwritten" else dx.clone()
            if mistake != "upstream dropped":
                loss_backward[(dx.shape[0],)](dx, g.contiguous(), dx.shape[1], BLOCK=triton.next_power_of_2(dx.shape[1]))
            return dx, None

    return CrossEntropy


@triton.jit
def scan(x_ptr, y_ptr, columns, REVERSE: tl.constexpr, BLOCK: tl.constexpr, MISTAKE: tl.constexpr):
    row = tl.program_id(0)
    carry = 0.0
    blocks = tl.cdiv(columns, BLOCK)
    for k in range(blocks):
        first = (blocks - 1 - k) * BLOCK if REVERSE else k * BLOCK
        offsets = first + tl.arange(0, BLOCK)
        mask = offsets < columns
        if MISTAKE == "tail read":
            x = tl.load(x_ptr + row * columns + offsets)
        else:
            x = tl.load(x_ptr + row * columns + offsets, mask=mask, other=0.0)
        y = tl.cumsum(x, axis=0, reverse=REVERSE) + carry
        tl.store(y_ptr + row * columns + offsets, y, mask=mask)
        if MISTAKE != "no carry":
            carry += tl.sum(x, axis=0)


def cumulative_sum(mistake: str) -> type[Function]:
    def run(x, reverse, mistake):
        x = x.contiguous()
        y = torch.empty_like(x)
        scan[(x.numel() // x.shape[-1],)](x, y, x.shape[-1], REVERSE=reverse, BLOCK=4, MISTAKE=mistake)
        return y

    class CumulativeSum(Function):
        @staticmethod
        def forward(ctx, x):
            return run(x, False, "")

        @staticmethod
        def backward(ctx, g):
            return run(g, mistake != "not reversed", mistake)

    return CumulativeSum


def norm_in_torch(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], w, b)


def loss_in_torch(x: Tensor, labels: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(x, labels, reduction="none", ignore_index=0)


ROWS = (
    Kernel("softmax", softmax, (normal(3, 5),), lambda x: x.softmax(-1), {
        "no sum": causes("missing-term"),
        "tail read": causes("out-of-bounds"),
        "tail written": causes("out-of-bounds"),
    }),
    Kernel("layer norm", layer_norm, (normal(3, 5), normal(5, seed=1), normal(5, seed=2)), norm_in_torch, {
        "no second term": causes("missing-term"),
        "no atomics": causes("nondeterministic"),
        "empty buffer": causes("unwritten-elements"),
    }),
    Kernel("cross-entropy", cross_entropy, (normal(4, 5), torch.tensor([2, 0, 4, 1])), loss_in_torch, {
        "label kept": causes("missing-term wrong-value"),
        "ignored rows": causes("wrong-value missing-term value-dependent"),
        "written in place": causes("mutates-input"),
        "saved overwritten": causes("mutates-saved"),
        "upstream dropped": causes("upstream-ignored"),
    }),
    Kernel("scan", cumulative_sum, (normal(2, 7),), lambda x: x.cumsum(-1), {
        "not reversed": causes("wrong-value permuted missing-term"),
        "no carry": causes("wrong-value missing-term"),
        "tail read": causes("out-of-bounds"),
    }),
)  # fmt: skip
