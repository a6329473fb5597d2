import torch


def _scores(queries, keys, temperature):
    s = queries @ keys.T / temperature
    return s, torch.exp(s - torch.logsumexp(s, 1, keepdim=True))


def forward(queries, keys, temperature=4.0):
    s, _ = _scores(queries, keys, temperature)
    return (torch.logsumexp(s, 1) - s.diagonal()).mean()


def backward(grad_output, output, queries, keys, temperature=4.0):
    _, p = _scores(queries, keys, temperature)
    ds = grad_output * (p - torch.eye(len(p), dtype=p.dtype)) / (len(p) * temperature)
    return ds @ keys, ds @ queries


candidate = (forward, backward)
