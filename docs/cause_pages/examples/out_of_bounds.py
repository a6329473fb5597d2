"""A Triton kernel works on blocks of eight columns, and five of them exist. The load has a mask and the store has none, so the
last row is written beyond the end of the tensor, and each other row into the next one, which is written later and hides it.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"  # kernels run on the CPU, in Triton's interpreter

import torch
import triton
import triton.language as tl

import gradcheck_lab as gl


@triton.jit
def double(x, y, columns, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    values = tl.load(x + tl.program_id(0) * columns + offsets, mask=offsets < columns)
    tl.store(y + tl.program_id(0) * columns + offsets, 2 * values)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad_output):
        grad_output, grad_input = grad_output.contiguous(), torch.empty(grad_output.shape)
        double[(len(grad_output),)](grad_output, grad_input, grad_output.shape[1], BLOCK=8)
        return grad_input


# %% call
x = torch.tensor([[0.5, -1.25, 0.75, 1.5, 0.25], [-0.5, 1.0, 2.0, -0.75, 1.75]])
report = gl.check(Double, x, probes={"kernel_memory"})


# %% mended
@triton.jit
def double(x, y, columns, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    values = tl.load(x + tl.program_id(0) * columns + offsets, mask=offsets < columns)
    tl.store(y + tl.program_id(0) * columns + offsets, 2 * values, mask=offsets < columns)
