import torch


def forward(logits, target):
    lse = torch.logsumexp(logits, -1)
    return (lse - logits[torch.arange(len(target)), target]).mean()


def backward(grad_output, output, logits, target):
    p = torch.exp(logits - torch.logsumexp(logits, -1, keepdim=True))
    seen = {}
    for i, label in enumerate(target.tolist()):
        if label not in seen:
            p[i, label] -= 1
        seen[label] = i
    return grad_output * p / len(target), None


candidate = (forward, backward)
