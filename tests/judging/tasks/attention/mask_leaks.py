import torch


def candidate(q, k, v, causal=True):
    att = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
    if causal:
        att = att - 10.0 * torch.ones_like(att).triu(1)
    att = torch.exp(att - torch.logsumexp(att, -1, keepdim=True))
    return att @ v
