import torch


def forward(q, k, v, causal=True):
    s = q @ k.mT / q.shape[-1] ** 0.5
    if causal:
        s = s.masked_fill(torch.ones_like(s, dtype=torch.bool).triu(1), float("-inf"))
    e = (s - s.amax(-1, keepdim=True)).exp()
    p = e / e.sum(-1, keepdim=True)
    return p @ v, (q, k, v, p)


def backward(dout, cache):
    q, k, v, p = cache
    dv = p.mT @ dout
    ds = p * (dout @ v.mT) / q.shape[-1] ** 0.5
    return ds @ k, ds.mT @ q, dv


candidate = (forward, backward)
