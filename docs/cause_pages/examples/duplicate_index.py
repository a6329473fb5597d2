"""An embedding in NumPy. `dW[index] += dout` adds once for each row, however often a word comes up in the batch."""

import numpy as np

import gradcheck_lab as gl


class Embedding:
    def __init__(self, W):
        self.W, self.dW = W, np.zeros_like(W)

    def forward(self, index):
        self.index = index
        return self.W[index]

    def backward(self, dout):
        self.dW[...] = 0
        self.dW[self.index] += dout


# %% call
W = np.random.default_rng(0).normal(size=(6, 3))
report = gl.check(Embedding(W), np.array([0, 3, 5, 2]))


# %% mended
class Embedding:
    def __init__(self, W):
        self.W, self.dW = W, np.zeros_like(W)

    def forward(self, index):
        self.index = index
        return self.W[index]

    def backward(self, dout):
        self.dW[...] = 0
        np.add.at(self.dW, self.index, dout)


report = gl.check(Embedding(W), np.array([0, 3, 5, 2]))
