import torch


class LigerCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target):
        n = logits.shape[0]
        lse = torch.logsumexp(logits, -1, keepdim=True)
        grad = torch.exp(logits - lse)
        grad[torch.arange(n), target] -= 1
        ctx.grad = grad / n
        return (lse[:, 0] - logits[torch.arange(n), target]).mean()

    @staticmethod
    def backward(ctx, grad_output):
        return ctx.grad.mul_(grad_output), None


candidate = LigerCrossEntropy
