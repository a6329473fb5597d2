import numpy as np


def _sigmoid(v):
    return 0.5 * (np.tanh(0.5 * v) + 1)


def gru_forward(update, reset, from_input, from_state, state):
    z, r = _sigmoid(update), _sigmoid(reset)
    n = np.tanh(from_input + r * from_state)
    return (1 - z) * n + z * state, (z, r, n, from_state, state)


def gru_backward(dout, cache):
    z, r, n, from_state, state = cache
    dn = dout * (1 - z)
    da = dn * (1 - n * n)
    dz = dout * (n - state)
    return dz * z * (1 - z), da * from_state * r * (1 - r), da, da * r, dout * z


candidate = (gru_forward, gru_backward)
