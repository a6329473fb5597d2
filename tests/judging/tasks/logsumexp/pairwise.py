import torch


def forward(x):
    level = x
    while level.shape[-1] > 1:
        half = level.shape[-1] // 2
        a, b = level[..., :half], level[..., half:2 * half]
        merged = torch.maximum(a, b) + torch.log1p(torch.exp(-(a - b).abs()))
        level = torch.cat([merged, level[..., 2 * half:]], dim=-1)
    return level[..., 0]


def backward(grad_output, output, x):
    w = torch.exp(x - x.amax(-1, keepdim=True))
    return (grad_output.unsqueeze(-1) * (w / w.sum(-1, keepdim=True)),)


candidate = (forward, backward)
