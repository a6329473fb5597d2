import numpy as np


def forward(x):
    norm = np.sqrt((x ** 2).sum(axis=1, keepdims=True))
    return x / norm, norm


def backward(dout, cache):
    return dout / cache


candidate = (forward, backward)
