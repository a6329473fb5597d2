import numpy as np


def forward(a, b, residual):
    return np.add(np.dot(a, b), residual), (a, b)


def backward(dout, cache):
    a, b = cache
    return np.dot(dout, b.T), np.dot(a.T, dout), dout.copy()


candidate = (forward, backward)
