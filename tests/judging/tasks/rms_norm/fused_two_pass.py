import torch


class FusedRMSNorm(torch.autograd.Function):
    """RMSNorm with a fused backward.

    dx = r * (g*w - x_hat * mean(g*w*x_hat))
    """

    @staticmethod
    def forward(ctx, x, weight, eps=1e-5):
        rstd = torch.rsqrt(torch.mean(x * x, dim=-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, rstd)
        return x * rstd * weight

    @staticmethod
    def backward(ctx, grad_output):
        x, weight, rstd = ctx.saved_tensors
        x_hat = x * rstd
        gw = grad_output * weight
        # first pass: the row statistic, second pass: the gradient
        c = (gw * x_hat).mean(dim=-1, keepdim=True)
        grad_x = (gw - x_hat * c) * rstd
        grad_weight = (grad_output * x_hat).sum(dim=0)
        return grad_x, grad_weight, None


candidate = FusedRMSNorm
