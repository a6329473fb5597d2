import numpy as np


def forward(x):
    m = x.max(axis=-1, keepdims=True)
    e = np.exp(x - m)
    return np.log(e.sum(axis=-1)) + m[:, 0], e


def backward(dout, cache):
    return cache * dout[:, None]


candidate = (forward, backward)
