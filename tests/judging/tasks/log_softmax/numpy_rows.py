import numpy as np


def forward(x):
    out = np.empty_like(x)
    for i, row in enumerate(x):
        shifted = row - row.max()
        out[i] = shifted - np.log(np.exp(shifted).sum())
    return out, np.exp(out)


def backward(dout, cache):
    probs = cache
    dx = np.empty_like(dout)
    for i in range(dout.shape[0]):
        dx[i] = dout[i] - probs[i] * dout[i].sum()
    return dx


candidate = (forward, backward)
