import torch

_nn = torch._C._nn


def candidate(x, beta=2.0):
    return _nn.softplus(x, beta, 40.0)
