"""Column-parallel: each rank has some rows of the weight and all of the input, so that the gradient of the input is a sum
over the ranks. The backward returns the term of its own rank.
"""

import torch
from torch import distributed

import gradcheck_lab as gl


class Copy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output


def column_linear(x, w):
    return Copy.apply(x) @ w.T


# %% call
report = gl.check_distributed(
    column_linear, "real('n d')", "real('m d')", placement={"w": gl.Shard(0), "output": gl.Shard(1)},
    reference=lambda x, w: x @ w.T,
)


# %% mended
class Copy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        total = grad_output.clone()
        distributed.all_reduce(total)
        return total
