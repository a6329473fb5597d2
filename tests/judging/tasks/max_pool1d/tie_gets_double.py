import torch


def forward(x):
    return torch.maximum(x[..., ::2], x[..., 1::2])


def backward(grad_output, output, x):
    mask = x == output.repeat_interleave(2, dim=-1)
    return (grad_output.repeat_interleave(2, dim=-1) * mask,)


candidate = (forward, backward)
