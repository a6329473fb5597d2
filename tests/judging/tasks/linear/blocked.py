import torch

K = 8


def _matmul(a, b):
    out = a.new_zeros(a.shape[0], b.shape[1])
    for k in range(0, a.shape[1], K):
        out += a[:, k:k + K] @ b[k:k + K]
    return out


def forward(x, weight, bias):
    return _matmul(x, weight.t()) + bias


def backward(grad_output, output, x, weight, bias):
    ones = torch.ones(1, grad_output.shape[0], dtype=grad_output.dtype)
    return _matmul(grad_output, weight), _matmul(grad_output.t(), x), _matmul(ones, grad_output)[0]


candidate = (forward, backward)
