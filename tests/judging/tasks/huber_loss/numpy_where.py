import numpy as np


def huber_forward(pred, target, delta=0.5):
    diff = pred - target
    small = np.abs(diff) <= delta
    per_element = np.where(small, 0.5 * diff ** 2, delta * np.abs(diff) - 0.5 * delta ** 2)
    return per_element.sum(), (diff, small, delta)


def huber_backward(dout, cache):
    diff, small, delta = cache
    dpred = dout * np.where(small, diff, delta * np.sign(diff)).astype(diff.dtype)
    return dpred, -dpred


candidate = (huber_forward, huber_backward)
