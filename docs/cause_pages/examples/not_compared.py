"""A NumPy layer multiplies by numbers that it keeps, and has no gradient of them. They may be a constant, or a
parameter that somebody forgot: the report says what it took them for.
"""

import numpy as np

import gradcheck_lab as gl


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def forward(self, x):
        self.x = x
        return x * self.factor

    def backward(self, dout):
        return dout * self.factor


# %% call
x, factor = np.array([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]]), np.array([1.0, 2.0, 3.0])
report = gl.check(Scale(factor), x)


# %% mended
class Scale:
    def __init__(self, factor):
        self.factor, self.dfactor = factor, None

    def forward(self, x):
        self.x = x
        return x * self.factor

    def backward(self, dout):
        self.dfactor = (dout * self.x).sum(axis=0)
        return dout * self.factor


report = gl.check(Scale(factor), x)
