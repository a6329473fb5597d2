import torch


def forward(values, segments, base):
    counts = torch.bincount(segments, minlength=base.shape[0]).clamp(min=1).to(values.dtype)
    sums = torch.zeros_like(base)
    sums[segments] += values
    return base + sums / counts[:, None]


def backward(grad_output, output, values, segments, base):
    counts = torch.bincount(segments, minlength=base.shape[0]).clamp(min=1).to(values.dtype)
    return (grad_output / counts[:, None])[segments], None, grad_output


candidate = (forward, backward)
