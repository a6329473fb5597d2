import torch


def forward(logits, target):
    lp = logits - torch.logsumexp(logits, 1, keepdim=True)
    return -lp[torch.arange(len(target)), target].mean()


def backward(grad_output, output, logits, target):
    p = torch.exp(logits - torch.logsumexp(logits, 1, keepdim=True))
    p[torch.arange(len(target)), target] -= 1
    return p * grad_output, None


candidate = (forward, backward)
