"""RMSNorm in plain NumPy, forward and backward, in the style of a course assignment."""

import numpy as np


def rmsnorm_forward(x, gamma, eps=1e-5):
    ms = np.mean(x ** 2, axis=-1, keepdims=True)
    rms = np.sqrt(ms + eps)
    xhat = x / rms
    out = xhat * gamma
    cache = (x, gamma, rms, xhat)
    return out, cache


def rmsnorm_backward(dout, cache):
    x, gamma, rms, xhat = cache
    D = x.shape[-1]
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    drms = -np.sum(dxhat * x, axis=-1, keepdims=True) / rms ** 2
    dms = 0.5 * drms / rms
    dx = dxhat / rms + 2.0 * x * dms / D
    return dx, dgamma


candidate = (rmsnorm_forward, rmsnorm_backward)
