import numpy as np


def softmax_forward(x):
    e = np.exp(x)
    out = e / np.sum(e, axis=-1, keepdims=True)
    return out, out


def softmax_backward(dout, cache):
    p = cache
    return p * (dout - np.sum(dout * p, axis=-1, keepdims=True))


candidate = (softmax_forward, softmax_backward)
