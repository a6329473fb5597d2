import torch


class MaxPool1d(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        left, right = x[..., 0::2], x[..., 1::2]
        take_left = left >= right
        ctx.save_for_backward(take_left)
        return torch.where(take_left, left, right)

    @staticmethod
    def backward(ctx, grad_output):
        (take_left,) = ctx.saved_tensors
        pair = torch.stack([grad_output * take_left, grad_output * ~take_left], dim=-1)
        return pair.flatten(-2)


candidate = MaxPool1d
