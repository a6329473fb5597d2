import torch

BLOCK = 32


def forward(x):
    """Online softmax (Milakov & Gimelshein): running max m, running normaliser l."""
    m = torch.full_like(x[..., :1], float("-inf"))
    total = torch.zeros_like(m)
    for i in range(0, x.shape[-1], BLOCK):
        tile = x[..., i:i + BLOCK]
        m_new = torch.maximum(m, tile.max(dim=-1, keepdim=True).values)
        total = total * torch.exp(m - m_new) + torch.exp(tile - m_new).sum(-1, keepdim=True)
        m = m_new
    return torch.exp(x - m) / total


def backward(grad_output, output, x):
    dot = (grad_output * output).sum(dim=-1, keepdim=True)
    return ((grad_output - dot) * output,)


candidate = (forward, backward)
