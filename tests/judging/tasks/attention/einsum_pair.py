import torch


def _probs(q, k, causal):
    s = torch.einsum("bid,bjd->bij", q, k) * max(q.size(-1), 1) ** -0.5
    if causal:
        n = s.size(-1)
        bias = torch.triu(torch.full((n, n), float("-inf"), dtype=s.dtype, device=s.device), diagonal=1)
        s = s + bias
    e = torch.exp(s - s.max(dim=-1, keepdim=True).values)
    return e / e.sum(dim=-1, keepdim=True)


def attention(q, k, v, causal=True):
    return torch.einsum("bij,bjd->bid", _probs(q, k, causal), v)


def attention_backward(grad_output, output, q, k, v, causal=True):
    p = _probs(q, k, causal)
    dv = torch.einsum("bij,bid->bjd", p, grad_output)
    dp = torch.einsum("bid,bjd->bij", grad_output, v)
    ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * max(q.size(-1), 1) ** -0.5
    return torch.einsum("bij,bjd->bid", ds, k), torch.einsum("bij,bid->bjd", ds, q), dv


candidate = (attention, attention_backward)
