import numpy as np


def forward(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def backward(grad_output, output, x):
    return output * (grad_output - (grad_output * output).sum(-1, keepdims=True))


candidate = (forward, backward)
