import numpy as np


def conv_forward(x, w, b):
    N, C, L = x.shape
    xp = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    out = np.zeros((N, w.shape[0], L), dtype=x.dtype)
    for k in range(w.shape[2]):
        out += np.einsum("oc,ncl->nol", w[:, :, k], xp[:, :, k:k + L])
    out += b[None, :, None]
    return out, (xp, w, L)


def conv_backward(dout, cache):
    xp, w, L = cache
    dxp = np.zeros_like(xp)
    dw = np.zeros_like(w)
    for k in range(w.shape[2]):
        dw[:, :, k] = np.einsum("nol,ncl->oc", dout, xp[:, :, k:k + L])
        dxp[:, :, k:k + L] += np.einsum("oc,nol->ncl", w[:, :, k], dout)
    db = dout.sum(axis=(0, 2))
    return dxp[:, :, 1:-1], dw, db


candidate = (conv_forward, conv_backward)
