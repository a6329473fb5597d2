import numpy as np


def forward(x, t):
    loss = np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))
    return loss.mean(), (x, t)


def backward(dout, cache):
    x, t = cache
    n = x.shape[0]
    e = np.exp(-np.abs(x))
    p = np.where(x >= 0, 1, e) / (1 + e)
    return dout * (p - t) / n, -dout * x / n


candidate = (forward, backward)
