import math

import numpy as np

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def gelu_forward(x):
    cdf = 0.5 * _erfc(-x.astype(np.float64) / math.sqrt(2.0))
    return (x * cdf).astype(x.dtype), (x, cdf)


def gelu_backward(dout, cache):
    x, cdf = cache
    z = x.astype(np.float64)
    pdf = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return (dout * (cdf + z * pdf)).astype(x.dtype)


candidate = (gelu_forward, gelu_backward)
