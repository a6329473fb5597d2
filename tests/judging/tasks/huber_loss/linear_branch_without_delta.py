import torch


class HuberLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, prediction, target, delta=0.5):
        d = prediction - target
        ctx.save_for_backward(d)
        ctx.delta = delta
        a = d.abs()
        return torch.where(a <= delta, 0.5 * a * a, delta * (a - 0.5 * delta)).sum()

    @staticmethod
    def backward(ctx, grad_output):
        (d,) = ctx.saved_tensors
        grad = torch.where(d.abs() <= ctx.delta, d, torch.sign(d))
        return grad_output * grad, -grad_output * grad, None


candidate = HuberLoss
