import torch


def forward(x):
    m = x.amax(-1, keepdim=True)
    return (m + (x - m).exp().sum(-1, keepdim=True).log()).squeeze(-1)


def backward(grad_output, output, x):
    _, pullback = torch.func.vjp(lambda z: torch.logsumexp(z, dim=-1), x)
    return pullback(grad_output)


candidate = (forward, backward)
