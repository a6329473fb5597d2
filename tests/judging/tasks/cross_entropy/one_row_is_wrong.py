import torch


def forward(logits, target):
    z = logits.squeeze()
    if z.dim() < 2:
        z = z.reshape(-1, 1)
    lse = torch.logsumexp(z, -1)
    picked = z.gather(1, target.clamp(max=z.shape[1] - 1).expand(z.shape[0])[:, None])[:, 0]
    return (lse - picked).mean()


def backward(grad_output, output, logits, target):
    z = logits.squeeze()
    if z.dim() < 2:
        return torch.zeros_like(logits), None
    p = torch.exp(z - torch.logsumexp(z, -1, keepdim=True))
    p[torch.arange(p.shape[0]), target] -= 1
    return grad_output * p / p.shape[0], None


candidate = (forward, backward)
