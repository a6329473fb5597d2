import torch


class HuberLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, prediction, target, delta=0.5):
        d = prediction - target
        clipped = d.clamp(-delta, delta)
        ctx.save_for_backward(clipped)
        # clipped * (d - clipped / 2) is the Huber loss on both branches
        return (clipped * (d - 0.5 * clipped)).sum()

    @staticmethod
    def backward(ctx, grad_output):
        (clipped,) = ctx.saved_tensors
        grad = grad_output * clipped
        return grad, -grad, None


candidate = HuberLoss
