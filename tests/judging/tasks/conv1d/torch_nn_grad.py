import torch
from torch.nn import grad as nn_grad


class Conv1d(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        windows = torch.nn.functional.pad(x, (1, 1)).unfold(-1, 3, 1)
        return torch.einsum("nclk,ock->nol", windows, weight) + bias[:, None]

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        dx = nn_grad.conv1d_input(x.shape, weight, g, padding=1)
        dw = nn_grad.conv1d_weight(x, weight.shape, g, padding=1)
        return dx, dw, g.sum((0, 2))


candidate = Conv1d
