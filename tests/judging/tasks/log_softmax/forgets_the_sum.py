import torch


class LogSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        lse = torch.logsumexp(x, dim=-1, keepdim=True)
        ctx.save_for_backward(x, lse)
        return x - lse

    @staticmethod
    def backward(ctx, grad_output):
        x, lse = ctx.saved_tensors
        probs = torch.exp(x - lse)
        return grad_output - probs * grad_output


candidate = LogSoftmax
