"""The layer of a course: the bias is added to every row, so its gradient is the sum over the rows. Here it has one
for each row.
"""

import numpy as np

import gradcheck_lab as gl


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b
        self.dW = self.db = None

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout
        return dout @ self.W.T


# %% call
rng = np.random.default_rng(0)
report = gl.check(Affine(rng.normal(size=(3, 2)), np.zeros(2)), rng.normal(size=(4, 3)))


# %% mended
class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b
        self.dW = self.db = None

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return dout @ self.W.T


report = gl.check(Affine(rng.normal(size=(3, 2)), np.zeros(2)), rng.normal(size=(4, 3)))
