import torch


def _probs(q, k, mask=None):
    s = torch.matmul(q, k.transpose(-2, -1)) / q.shape[-1] ** 0.5
    if mask is not None:
        s = s.masked_fill(mask, float("-inf"))
    return torch.exp(s - torch.logsumexp(s, dim=-1, keepdim=True))


def forward(q, k, v, causal=True):
    t = q.shape[1]
    mask = torch.triu(torch.ones(t, t, dtype=torch.bool), diagonal=1) if causal else None
    return torch.matmul(_probs(q, k, mask), v)


def backward(grad_output, output, q, k, v, causal=True):
    p = _probs(q, k)
    grad_v = torch.matmul(p.transpose(-2, -1), grad_output)
    grad_p = torch.matmul(grad_output, v.transpose(-2, -1))
    grad_s = p * (grad_p - (grad_p * p).sum(-1, keepdim=True)) / q.shape[-1] ** 0.5
    return torch.matmul(grad_s, k), torch.matmul(grad_s.transpose(-2, -1), q), grad_v


candidate = (forward, backward)
