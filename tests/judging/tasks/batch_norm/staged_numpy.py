import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    N, D = x.shape
    mu = x.mean(axis=0)
    xmu = x - mu
    sq = xmu ** 2
    var = sq.mean(axis=0)
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    out = gamma * xhat + beta
    cache = (xhat, gamma, xmu, ivar, sqrtvar, N)
    return out, cache


def batchnorm_backward(dout, cache):
    xhat, gamma, xmu, ivar, sqrtvar, N = cache
    # step 9
    dbeta = dout.sum(axis=0)
    # step 8
    dgamma = (dout * xhat).sum(axis=0)
    dxhat = dout * gamma
    # step 7
    divar = (dxhat * xmu).sum(axis=0)
    dxmu1 = dxhat * ivar
    # step 6, 5, 4
    dsqrtvar = -divar * ivar ** 2
    dvar = 0.5 * dsqrtvar / sqrtvar
    dsq = np.ones_like(dout) * dvar / N
    # step 3, 2
    dxmu = dxmu1 + 2 * xmu * dsq
    # step 1
    dx = dxmu - dxmu.sum(axis=0) / N
    return dx, dgamma, dbeta


candidate = (batchnorm_forward, batchnorm_backward)
