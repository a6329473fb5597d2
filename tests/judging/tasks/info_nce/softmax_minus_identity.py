import torch


class InfoNCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, queries, keys, temperature=4.0):
        scores = queries @ keys.t() / temperature
        lse = torch.logsumexp(scores, dim=1)
        p = torch.exp(scores - lse[:, None])
        ctx.save_for_backward(queries, keys, p)
        ctx.temperature = temperature
        return (lse - scores.diagonal()).mean()

    @staticmethod
    def backward(ctx, g):
        queries, keys, p = ctx.saved_tensors
        ds = p.clone()
        ds.diagonal().sub_(1)
        ds *= g / (p.shape[0] * ctx.temperature)
        return ds @ keys, ds.t() @ queries, None


candidate = InfoNCE
