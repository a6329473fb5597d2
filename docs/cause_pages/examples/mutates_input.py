"""A clipping forward works in place on its argument. Whoever called it finds other numbers in `x` afterwards."""

import numpy as np

import gradcheck_lab as gl


class Relu:
    def forward(self, x):
        self.mask = x <= 0
        x[self.mask] = 0
        return x * 1.0

    def backward(self, dout):
        return np.where(self.mask, 0, dout)


# %% call
report = gl.check(Relu(), np.array([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]]))


# %% mended
class Relu:
    def forward(self, x):
        self.mask = x <= 0
        return np.where(self.mask, 0, x)

    def backward(self, dout):
        return np.where(self.mask, 0, dout)
