import torch


class StochasticLSE(torch.autograd.Function):
    """Unbiased stochastic rounding of the gradient."""

    @staticmethod
    def forward(ctx, x):
        m = x.amax(-1, keepdim=True)
        out = (m + (x - m).exp().sum(-1, keepdim=True).log()).squeeze(-1)
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    def backward(ctx, g):
        x, out = ctx.saved_tensors
        grad = torch.exp(x - out.unsqueeze(-1)) * g.unsqueeze(-1)
        return grad * (1 + 1e-3 * torch.randn_like(grad))


candidate = StochasticLSE
