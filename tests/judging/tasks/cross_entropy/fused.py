import torch


class FusedCrossEntropy(torch.autograd.Function):
    """Computes the gradient already in forward, so that the logits need not be kept."""

    @staticmethod
    def forward(ctx, logits, target):
        n = logits.shape[0]
        rows = torch.arange(n, device=logits.device)
        lse = torch.logsumexp(logits, dim=-1)
        loss = (lse - logits[rows, target]).sum() / n
        grad = torch.exp(logits - lse[:, None])
        grad[rows, target] -= 1.0
        ctx.save_for_backward(grad / n)
        return loss

    @staticmethod
    def backward(ctx, grad_output):
        (grad,) = ctx.saved_tensors
        return grad * grad_output, None


candidate = FusedCrossEntropy
