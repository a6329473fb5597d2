import torch


class KL(torch.autograd.Function):
    @staticmethod
    def forward(ctx, student, teacher, temperature=2.0):
        q = student / temperature - torch.logsumexp(student / temperature, -1, keepdim=True)
        p = teacher / temperature - torch.logsumexp(teacher / temperature, -1, keepdim=True)
        ctx.save_for_backward(q, p)
        ctx.temperature = temperature
        return (p.exp() * (p - q)).sum(-1).mean()

    @staticmethod
    def backward(ctx, g):
        q, p = ctx.saved_tensors
        return g * (q.exp() - p.exp()) / (q.shape[0] * ctx.temperature), torch.zeros_like(p), None


candidate = KL
