import torch


class LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        m = torch.max(x, dim=-1, keepdim=True).values
        out = torch.log(torch.sum(torch.exp(x - m), dim=-1)) + m[..., 0]
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    def backward(ctx, grad_output):
        x, out = ctx.saved_tensors
        return torch.exp(x - out.unsqueeze(-1)) * grad_output.unsqueeze(-1)


candidate = LogSumExp
