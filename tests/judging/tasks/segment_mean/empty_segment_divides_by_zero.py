import numpy as np


def forward(values, segments, base):
    sums = np.zeros_like(base)
    np.add.at(sums, segments, values)
    with np.errstate(all="ignore"):
        counts = np.bincount(segments, minlength=base.shape[0]).astype(base.dtype)
        out = base + sums / counts[:, None]
    return out, (segments, counts)


def backward(dout, cache):
    segments, counts = cache
    return dout[segments] / counts[segments][:, None], None, dout


candidate = (forward, backward)
