import numpy as np


def forward(W, idx):
    out = W[idx].sum(axis=1)
    cache = (idx, W.shape)
    return out, cache


def backward(dout, cache):
    idx, shape = cache
    dW = np.zeros(shape, dtype=dout.dtype)
    for j in range(idx.shape[1]):
        dW[idx[:, j]] += dout
    return dW, None


candidate = (forward, backward)
