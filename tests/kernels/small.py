"""Small kernels and Functions around them, each for one thing that the interpreter or its hooks do."""

import pytest
import torch

pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")

import triton
import triton.language as tl
from torch.autograd import Function
from triton.language.extra import libdevice
from triton.language.extra.libdevice import tanh


@triton.jit
def scale(x_ptr, y_ptr, factor, count, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < count)
    tl.store(y_ptr + offsets, (x * factor.to(tl.float32)).to(x.dtype), mask=offsets < count)


@triton.jit
def multiply(a_ptr, b_ptr, y_ptr, total_ptr, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    a, b = tl.load(a_ptr + offsets), tl.load(b_ptr + offsets)
    tl.store(y_ptr + offsets, a * b + a)
    tl.store(total_ptr, tl.sum(a * b, axis=0))


@triton.jit
def by_library(x_ptr, y_ptr, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets)
    tl.store(y_ptr + offsets, tanh(x) + libdevice.rsqrt(x * x + 1))


@triton.jit
def in_a_loop(x_ptr, y_ptr, count, BLOCK: tl.constexpr):
    for tile in range(tl.program_id(0), tl.cdiv(count, BLOCK), tl.num_programs(0)):
        offsets = tile.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y_ptr + offsets, 2 * tl.load(x_ptr + offsets, mask=offsets < count), mask=offsets < count)


@triton.jit
def scale_in_a_loop(x_ptr, y_ptr, count, factor, BLOCK: tl.constexpr):
    for tile in range(tl.program_id(0), tl.cdiv(count, BLOCK), tl.num_programs(0)):
        offsets = tile * BLOCK + tl.arange(0, BLOCK)
        tl.store(y_ptr + offsets, factor * tl.load(x_ptr + offsets, mask=offsets < count), mask=offsets < count)


@triton.jit
def square_in_place(x_ptr, count, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < count)
    tl.store(x_ptr + offsets, x * x, mask=offsets < count)


@triton.jit
def in_assembly(x_ptr, y_ptr, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets)
    y = tl.inline_asm_elementwise("mov $0, $1;", "=r,r", [x], dtype=tl.float32, is_pure=True, pack=1)
    tl.store(y_ptr + offsets, y)


@triton.jit
def asserting(x_ptr, BLOCK: tl.constexpr):
    tl.static_assert(BLOCK > 1000, "too short")


@triton.autotune([triton.Config({"BLOCK": 4}), triton.Config({"BLOCK": 8})], key=["count"])
@triton.jit
def tuned(x_ptr, y_ptr, count, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + offsets, 2 * tl.load(x_ptr + offsets, mask=offsets < count), mask=offsets < count)


@triton.jit
def square_backward(x_ptr, g_ptr, dx_ptr, count, SAME_ROW: tl.constexpr):
    offsets = tl.program_id(0) * 64 + tl.arange(0, 64)
    inside = offsets < count
    upstream = tl.arange(0, 64) if SAME_ROW else offsets
    x, g = tl.load(x_ptr + offsets, mask=inside), tl.load(g_ptr + upstream, mask=inside)
    tl.store(dx_ptr + offsets, 2 * x * g, mask=inside)


@triton.jit
def double_rows(x_ptr, y_ptr, x_row, x_column, y_row, y_column, columns, BLOCK: tl.constexpr):
    row, offsets = tl.program_id(0), tl.arange(0, BLOCK)
    inside = offsets < columns
    x = tl.load(x_ptr + row * x_row + offsets * x_column, mask=inside)
    tl.store(y_ptr + row * y_row + offsets * y_column, 2 * x, mask=inside)


@triton.jit
def partly_read(x_ptr, y_ptr, count, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets)
    tl.store(y_ptr + offsets, 2 * x, mask=offsets < count)


@triton.jit
def every_column(x_ptr, count, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    tl.store(x_ptr + offsets, 2 * tl.load(x_ptr + offsets, mask=offsets < count), mask=offsets < count)


@triton.jit
def last_adds_up(x_ptr, part_ptr, count_ptr, total_ptr, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):
    program, offsets = tl.program_id(0), tl.arange(0, BLOCK)
    tl.store(part_ptr + program, tl.sum(tl.load(x_ptr + program * BLOCK + offsets), axis=0))
    if tl.atomic_add(count_ptr, 1) == PROGRAMS - 1:
        tl.store(total_ptr, tl.sum(tl.load(part_ptr + tl.arange(0, PROGRAMS)), axis=0))


@triton.jit
def after_the_one_before(flag_ptr, y_ptr):
    program = tl.program_id(0)
    while tl.atomic_add(flag_ptr, 0) != program:
        pass
    tl.store(y_ptr + program, program)
    tl.atomic_add(flag_ptr, 1)


def doubled(forward):
    """A Function that doubles by `forward`, with a backward in torch."""

    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            return forward(x)

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    return Double


def square(same_row):
    """A Function that squares; wrong beyond the 64 elements of a block, where `same_row`, which only the grid tells."""

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x.contiguous())
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            dx = torch.empty_like(x)
            kernel = square_backward[lambda meta: (triton.cdiv(x.numel(), 64),)]
            kernel(x, g.contiguous(), dx, x.numel(), SAME_ROW=same_row)
            return dx

    return Square


def rows_doubled(mistake):
    """A Function that doubles a matrix by its strides, or takes these for others as a mistake says."""

    def run(x, y, x_strides):
        double_rows[(x.shape[0],)](x, y, *x_strides, *y.stride(), x.shape[1], BLOCK=8)
        return y

    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            if mistake == "contiguous":
                return run(x.contiguous(), x.new_empty(x.shape), (x.shape[1], 1))
            x = x if x.stride(1) == 1 else x.contiguous()
            return run(x, x.new_empty(x.shape), (x.shape[1], 1) if mistake == "rows of x" else x.stride())

        @staticmethod
        def backward(ctx, g):
            if mistake == "contiguous":
                return run(g.contiguous(), g.new_empty(g.shape), (g.shape[1], 1))
            if mistake == "written to g":
                return run(g, g.as_strided(g.shape, (g.shape[1], 1)), g.stride())
            return run(g, g.new_empty(g.shape), (g.shape[1], 1) if mistake == "columns of g" else g.stride())

    return Double


def tripled_by_processors(factor):
    """A Function that triples, with a program for each processor of the device that its backward asks torch for."""

    class Triple(Function):
        @staticmethod
        def forward(ctx, x):
            return 3 * x

        @staticmethod
        def backward(ctx, g):
            g = g.contiguous()
            dx = torch.empty_like(g)
            if torch.cuda.is_available():
                programs = torch.cuda.get_device_properties(g.device).multi_processor_count
            with torch.cuda.device(g.device):
                scale_in_a_loop[(programs,)](g, dx, g.numel(), factor, BLOCK=2)
            return dx

    return Triple


def kept_in_place(same):
    """A Function that squares a copy of its input in place, so that autograd sees the copy alone; or returns `same`."""

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x.contiguous())
            y = x.clone(memory_format=torch.contiguous_format)
            square_in_place[(1,)](y, y.numel(), BLOCK=512)
            return y

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g if same else 2 * x * g

    return Square


def by(kernel, *constants, **blocks):
    """A forward that hands a kernel the input, an output and the number of elements."""

    def forward(x):
        x = x.contiguous()
        y = torch.zeros_like(x)
        kernel[(1,)](x, y, *constants, x.numel(), **blocks)
        return y

    return forward
