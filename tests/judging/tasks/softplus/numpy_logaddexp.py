import numpy as np


def softplus(x, beta=2.0):
    return (np.logaddexp(0, beta * x) / beta).astype(x.dtype), (x, beta)


def softplus_grad(dout, cache):
    x, beta = cache
    e = np.exp(-np.abs(beta * x))
    return (dout * np.where(x >= 0, 1, e) / (1 + e)).astype(x.dtype)


candidate = (softplus, softplus_grad)
