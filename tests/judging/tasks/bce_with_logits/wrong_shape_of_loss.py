import torch


def forward(logits, target):
    return (logits.clamp(min=0) - logits * target + torch.log1p(torch.exp(-logits.abs()))).mean().reshape(1)


def backward(grad_output, output, logits, target):
    scale = grad_output / logits.numel()
    return scale * (torch.sigmoid(logits) - target), -scale * logits


candidate = (forward, backward)
