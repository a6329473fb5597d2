import torch
from torch import nn


class LinearFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight, bias)
        return x @ weight.t() + bias

    @staticmethod
    def backward(ctx, g):
        x, weight, bias = (t.detach().clone().requires_grad_() for t in ctx.saved_tensors)
        layer = nn.Linear(x.shape[1], weight.shape[0], dtype=x.dtype)
        with torch.enable_grad():
            y = torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))
            torch.autograd.backward(y, g)
        return x.grad, weight.grad, bias.grad


candidate = LinearFn
