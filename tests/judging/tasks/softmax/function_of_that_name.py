import torch


class Softmax(torch.autograd.Function):
    """Row-wise softmax."""

    @staticmethod
    def forward(ctx, x):
        e = torch.exp(x - torch.amax(x, dim=-1, keepdim=True))
        y = e.div_(e.sum(dim=-1, keepdim=True))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        t = dy * y
        return t.sub_(y * t.sum(dim=-1, keepdim=True))


candidate = Softmax


if __name__ == "__main__":
    x = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    print(torch.autograd.gradcheck(Softmax.apply, (x,)))
