import torch


def _cumsum(x):
    return x @ torch.ones(x.shape[1], x.shape[1], dtype=x.dtype).triu()


def forward(x, weight):
    return _cumsum(x * weight)


def backward(grad_output, output, x, weight):
    s = _cumsum(grad_output)
    return s * weight, (s * x).sum(0)


candidate = (forward, backward)
