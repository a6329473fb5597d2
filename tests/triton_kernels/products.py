"""Kernels over products and tables: rotary embedding, swiglu, attention and an embedding."""

import pytest
import torch

pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")

import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function

from tests.triton_kernels.row import Kernel, causes
from tests.triton_kernels.rows import normal


@triton.jit
def turn(x_ptr, cos_ptr, sin_ptr, y_ptr, half, positions, SIGN: tl.constexpr, BLOCK: tl.constexpr, MISTAKE: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < half
    table = (row % positions) * half + offsets
    cos = tl.load(cos_ptr + table, mask=mask, other=0.0)
    sin = SIGN * tl.load(sin_ptr + table, mask=mask, other=0.0)
    start = row * 2 * half
    first = tl.load(x_ptr + start + offsets, mask=mask, other=0.0)
    second = tl.load(x_ptr + start + half + offsets, mask=mask, other=0.0)
    tl.store(y_ptr + start + offsets, first * cos - second * sin, mask=mask)
    if MISTAKE == "second half left":
        return
    if MISTAKE == "tail written":
        tl.store(y_ptr + start + half + offsets, second * cos + first * sin)
    else:
        tl.store(y_ptr + start + half + offsets, second * cos + first * sin, mask=mask)


def rotary(mistake: str) -> type[Function]:
    def run(x, cos, sin, sign, mistake):
        x = x.contiguous()
        y, half = torch.empty_like(x), x.shape[-1] // 2
        rows, block = x.numel() // (2 * half), triton.next_power_of_2(half)
        turn[(rows,)](x, cos, sin, y, half, x.shape[-2], SIGN=sign, BLOCK=block, MISTAKE=mistake)
        return y

    class Rotary(Function):
        @staticmethod
        def forward(ctx, x, cos, sin):
            ctx.save_for_backward(cos.contiguous(), sin.contiguous())
            return run(x, *ctx.to_save, 1, "")

        @staticmethod
        def backward(ctx, g):
            return run(g, *ctx.saved_tensors, 1 if mistake == "not turned back" else -1, mistake), None, None

    return Rotary


@triton.jit
def gate_forward(a_ptr, b_ptr, y_ptr, count, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < count
    a, b = tl.load(a_ptr + offsets, mask=mask), tl.load(b_ptr + offsets, mask=mask)
    tl.store(y_ptr + offsets, a * tl.sigmoid(a) * b, mask=mask)


@triton.jit
def gate_backward(a_ptr, b_ptr, g_ptr, da_ptr, db_ptr, count, BLOCK: tl.constexpr, MISTAKE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < count
    a, b = tl.load(a_ptr + offsets, mask=mask), tl.load(b_ptr + offsets, mask=mask)
    g = tl.load(g_ptr + offsets, mask=mask)
    s = tl.sigmoid(a)
    slope = s if MISTAKE == "gate constant" else s * (1 + a * (1 - s))
    tl.store(da_ptr + offsets, g * b * slope, mask=mask)
    tl.store(db_ptr + offsets, g * a * s, mask=mask)


def swiglu(mistake: str) -> type[Function]:
    class Swiglu(Function):
        @staticmethod
        def forward(ctx, a, b):
            a, b = a.contiguous(), b.contiguous()
            y = torch.empty_like(a)
            gate_forward[(triton.cdiv(a.numel(), 8),)](a, b, y, a.numel(), BLOCK=8)
            ctx.save_for_backward(a, b)
            return y

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            da, db = torch.empty_like(a), torch.empty_like(b)
            blocks = a.numel() // 8 if mistake == "last block left" else triton.cdiv(a.numel(), 8)
            gate_backward[(blocks,)](a, b, g.contiguous(), da, db, a.numel(), BLOCK=8, MISTAKE=mistake)
            return (db, da) if mistake == "swapped" else (da, db)

    return Swiglu


@triton.jit
def attend(q_ptr, k_ptr, v_ptr, y_ptr, lse_ptr, length, width, scale, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    base = tl.program_id(1) * length * width
    columns = tl.arange(0, WIDE)
    within = (rows < length)[:, None] & (columns < width)[None, :]
    q = tl.load(q_ptr + base + rows[:, None] * width + columns[None, :], mask=within, other=0.0)
    top = tl.full([BLOCK], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    y = tl.zeros([BLOCK, WIDE], tl.float32)
    for start in range(0, length, BLOCK):
        others = start + tl.arange(0, BLOCK)
        known = (others < length)[:, None] & (columns < width)[None, :]
        at = base + others[:, None] * width + columns[None, :]
        k, v = tl.load(k_ptr + at, mask=known, other=0.0), tl.load(v_ptr + at, mask=known, other=0.0)
        scores = tl.where((others < length)[None, :], tl.dot(q, tl.trans(k)) * scale, -float("inf"))
        higher = tl.maximum(top, tl.max(scores, axis=1))
        p = tl.exp(scores - higher[:, None])
        total = total * tl.exp(top - higher) + tl.sum(p, axis=1)
        y = y * tl.exp(top - higher)[:, None] + tl.dot(p, v)
        top = higher
    tl.store(y_ptr + base + rows[:, None] * width + columns[None, :], y / total[:, None], mask=within)
    tl.store(lse_ptr + tl.program_id(1) * length + rows, top + tl.log(total), mask=rows < length)


@triton.jit
def attend_backward(q_ptr, k_ptr, v_ptr, g_ptr, lse_ptr, delta_ptr, dq_ptr, dk_ptr, dv_ptr, length, width, scale,
                    BLOCK: tl.constexpr, WIDE: tl.constexpr, MISTAKE: tl.constexpr):  # fmt: skip
    others = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    base = tl.program_id(1) * length * width
    columns = tl.arange(0, WIDE)
    known = (others < length)[:, None] & (columns < width)[None, :]
    mine = base + others[:, None] * width + columns[None, :]
    k, v = tl.load(k_ptr + mine, mask=known, other=0.0), tl.load(v_ptr + mine, mask=known, other=0.0)
    dk, dv = tl.zeros([BLOCK, WIDE], tl.float32), tl.zeros([BLOCK, WIDE], tl.float32)
    for start in range(0, length, BLOCK):
        rows = start + tl.arange(0, BLOCK)
        within = (rows < length)[:, None] & (columns < width)[None, :]
        at = base + rows[:, None] * width + columns[None, :]
        q, g = tl.load(q_ptr + at, mask=within, other=0.0), tl.load(g_ptr + at, mask=within, other=0.0)
        lse = tl.load(lse_ptr + tl.program_id(1) * length + rows, mask=rows < length, other=0.0)
        delta = tl.load(delta_ptr + tl.program_id(1) * length + rows, mask=rows < length, other=0.0)
        both = (rows < length)[:, None] & (others < length)[None, :]
        p = tl.where(both, tl.exp(tl.dot(q, tl.trans(k)) * scale - lse[:, None]), 0.0)
        dv += tl.dot(tl.trans(p), g)
        dp = tl.dot(g, tl.trans(v))
        ds = p * dp if MISTAKE == "no delta" else p * (dp - delta[:, None])
        ds = ds if MISTAKE == "no scale" else ds * scale
        dk += tl.dot(tl.trans(ds), q)
        if MISTAKE == "no atomics":
            tl.store(dq_ptr + at, tl.load(dq_ptr + at, mask=within) + tl.dot(ds, k), mask=within)
        else:
            tl.atomic_add(dq_ptr + at, tl.dot(ds, k), mask=within)
    tl.store(dk_ptr + mine, dk, mask=known)
    tl.store(dv_ptr + mine, dv, mask=known)


def attention(mistake: str) -> type[Function]:
    class Attention(Function):
        @staticmethod
        def forward(ctx, q, k, v):
            q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
            heads, length, width = q.shape
            y, lse = torch.empty_like(q), q.new_empty(heads, length)
            grid, scale = (triton.cdiv(length, 2), heads), width**-0.5
            attend[grid](q, k, v, y, lse, length, width, scale, BLOCK=2, WIDE=triton.next_power_of_2(width))
            ctx.save_for_backward(q, k, v, y, lse)
            return y

        @staticmethod
        def backward(ctx, g):
            q, k, v, y, lse = ctx.saved_tensors
            (heads, length, width), g = q.shape, g.contiguous()
            dq, dk, dv, delta = torch.zeros_like(q), torch.empty_like(k), torch.empty_like(v), (y * g).sum(-1)
            attend_backward[(triton.cdiv(length, 2), heads)](
                q, k, v, g, lse, delta, dq, dk, dv, length, width, width**-0.5, BLOCK=2,
                WIDE=triton.next_power_of_2(width), MISTAKE=mistake,
            )  # fmt: skip
            return dq, dk, dv

    return Attention


@triton.jit
def gather(table_ptr, index_ptr, y_ptr, width, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < width
    found = tl.load(table_ptr + tl.load(index_ptr + row) * width + offsets, mask=mask)
    tl.store(y_ptr + row * width + offsets, found, mask=mask)


@triton.jit
def scatter(g_ptr, index_ptr, dx_ptr, width, BLOCK: tl.constexpr, MISTAKE: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < width
    g = tl.load(g_ptr + row * width + offsets, mask=mask)
    at = dx_ptr + tl.load(index_ptr + row) * width + offsets
    if MISTAKE == "no atomics":
        tl.store(at, tl.load(at, mask=mask) + g, mask=mask)
    elif MISTAKE == "overwritten":
        tl.store(at, g, mask=mask)
    else:
        tl.atomic_add(at, g, mask=mask)


def embedding(mistake: str) -> type[Function]:
    class Embedding(Function):
        @staticmethod
        def forward(ctx, table, index):
            table, index = table.contiguous(), index.contiguous()
            y = table.new_empty(*index.shape, table.shape[1])
            gather[(index.numel(),)](table, index, y, table.shape[1], BLOCK=triton.next_power_of_2(table.shape[1]))
            ctx.save_for_backward(index)
            ctx.shape = table.shape
            return y

        @staticmethod
        def backward(ctx, g):
            (index,) = ctx.saved_tensors
            dx = g.new_empty(ctx.shape) if mistake == "empty buffer" else g.new_zeros(ctx.shape)
            width = ctx.shape[1]
            scatter[(index.numel(),)](g.contiguous(), index, dx, width, BLOCK=triton.next_power_of_2(width), MISTAKE=mistake)
            return dx, None

    return Embedding


def turned_in_torch(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    cos, sin = cos.detach(), sin.detach()
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def attention_in_torch(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


ANGLES = normal(3, 3, seed=3)
PRODUCTS = (
    Kernel("rotary", rotary, (normal(2, 3, 6), ANGLES.cos(), ANGLES.sin()), turned_in_torch, {
        "not turned back": causes("sign wrong-value missing-term"),
        "second half left": causes("unwritten-elements"),
        "tail written": causes("out-of-bounds"),
    }, {"wrt": ["x"]}),
    Kernel("swiglu", swiglu, (normal(2, 5), normal(2, 5, seed=1)), lambda a, b: torch.nn.functional.silu(a) * b, {
        "gate constant": causes("missing-term missing-factor wrong-value"),
        "last block left": causes("unwritten-elements"),
        "swapped": causes("slots-swapped"),
    }),
    Kernel("attention", attention, tuple(normal(1, 3, 2, seed=k) for k in range(3)), attention_in_torch, {
        "no delta": causes("missing-term wrong-value wrong-operand"),
        "no scale": causes("constant-factor"),
        "no atomics": causes("nondeterministic"),
    }),
    Kernel("embedding", embedding, (normal(4, 3), torch.tensor([1, 3, 1])), lambda table, index: table[index], {
        "no atomics": causes("nondeterministic"),
        "overwritten": causes("nondeterministic duplicate-index"),
        "empty buffer": causes("unwritten-elements"),
    }),
)  # fmt: skip
