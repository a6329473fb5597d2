"""One weight encodes and decodes, so its gradient is a sum of two terms. The second line assigns where it has to add."""

import torch

import gradcheck_lab as gl


class TiedAutoencoder:
    def __init__(self, W):
        self.W, self.dW = W, None

    def forward(self, x):
        self.x, self.h = x, torch.tanh(x @ self.W)
        return self.h @ self.W.T

    def backward(self, dout):
        self.dW = dout.T @ self.h
        dz = dout @ self.W * (1 - self.h**2)
        self.dW = self.x.T @ dz
        return dz @ self.W.T


# %% call
torch.manual_seed(0)
W, x = torch.randn(4, 2, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
report = gl.check(TiedAutoencoder(W), x)


# %% mended
class TiedAutoencoder:
    def __init__(self, W):
        self.W, self.dW = W, None

    def forward(self, x):
        self.x, self.h = x, torch.tanh(x @ self.W)
        return self.h @ self.W.T

    def backward(self, dout):
        self.dW = dout.T @ self.h
        dz = dout @ self.W * (1 - self.h**2)
        self.dW = self.dW + self.x.T @ dz
        return dz @ self.W.T


report = gl.check(TiedAutoencoder(W), x)
