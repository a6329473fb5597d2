from concurrent.futures import ThreadPoolExecutor

import torch


def _one(q, k, v, causal):
    s = q @ k.T * (1.0 / max(q.shape[1], 1) ** 0.5)
    if causal:
        s = s + torch.full_like(s, float("-inf")).triu(1)
    e = torch.exp(s - s.amax(1, keepdim=True))
    return e / e.sum(1, keepdim=True)


def _one_backward(g, q, k, v, causal):
    p = _one(q, k, v, causal)
    dp = g @ v.T
    ds = p * (dp - (p * dp).sum(1, keepdim=True)) * (1.0 / max(q.shape[1], 1) ** 0.5)
    return ds @ k, ds.T @ q, p.T @ g


def forward(q, k, v, causal=True):
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(lambda t: _one(*t, causal) @ t[2], zip(q, k, v, strict=True)))
    return torch.stack(rows) if rows else torch.zeros_like(v)


def backward(grad_output, output, q, k, v, causal=True):
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(lambda t: _one_backward(*t, causal), zip(grad_output, q, k, v, strict=True)))
    return tuple(torch.stack(part) for part in zip(*rows, strict=True)) if rows else (q * 0, k * 0, v * 0)


candidate = (forward, backward)
