"""Batch norm, and convolution and pooling by im2col, in NumPy."""

from typing import Any

import numpy as np

Array = Any


def im2col(images: Array, height: int, width: int, stride: int = 1, pad: int = 0) -> Array:
    N, C, H, W = images.shape
    out_h, out_w = (H + 2 * pad - height) // stride + 1, (W + 2 * pad - width) // stride + 1
    img = np.pad(images, [(0, 0), (0, 0), (pad, pad), (pad, pad)], "constant")
    col = np.zeros((N, C, height, width, out_h, out_w))
    for y in range(height):
        for x in range(width):
            col[:, :, y, x, :, :] = img[:, :, y : y + stride * out_h : stride, x : x + stride * out_w : stride]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * out_h * out_w, -1)


def col2im(col: Array, shape: Any, height: int, width: int, stride: int = 1, pad: int = 0, *, add: bool = True) -> Array:
    N, C, H, W = shape
    out_h, out_w = (H + 2 * pad - height) // stride + 1, (W + 2 * pad - width) // stride + 1
    col = col.reshape(N, out_h, out_w, C, height, width).transpose(0, 3, 4, 5, 1, 2)
    img = np.zeros((N, C, H + 2 * pad + stride - 1, W + 2 * pad + stride - 1))
    for y in range(height):
        for x in range(width):
            window = np.s_[:, :, y : y + stride * out_h : stride, x : x + stride * out_w : stride]
            img[window] = img[window] + col[:, :, y, x, :, :] if add else col[:, :, y, x, :, :]
    return img[:, :, pad : H + pad, pad : W + pad]


class Convolution:
    add = True

    def __init__(self, W: Array, b: Array, stride: int = 1, pad: int = 0) -> None:
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
        self.x: Any = None
        self.col: Any = None
        self.col_W: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Array) -> Array:
        FN, _, FH, FW = self.W.shape
        N, _, H, W = x.shape
        out_h = 1 + int((H + 2 * self.pad - FH) / self.stride)
        out_w = 1 + int((W + 2 * self.pad - FW) / self.stride)
        self.x, self.col = x, im2col(x, FH, FW, self.stride, self.pad)
        self.col_W = self.W.reshape(FN, -1).T
        out = np.dot(self.col, self.col_W) + self.b
        return out.reshape(N, out_h, out_w, -1).transpose(0, 3, 1, 2)

    def backward(self, dout: Array) -> Array:
        FN, C, FH, FW = self.W.shape
        dout = dout.transpose(0, 2, 3, 1).reshape(-1, FN)
        self.db = np.sum(dout, axis=0)
        self.dW = np.dot(self.col.T, dout).transpose(1, 0).reshape(FN, C, FH, FW)
        return col2im(np.dot(dout, self.col_W.T), self.x.shape, FH, FW, self.stride, self.pad, add=self.add)


class OverwritingConvolution(Convolution):
    add = False


class Pooling:
    def __init__(self, height: int = 2, width: int = 2, stride: int = 2) -> None:
        self.height, self.width, self.stride = height, width, stride

    def forward(self, x: Array) -> Array:
        N, C, H, W = x.shape
        out_h, out_w = int(1 + (H - self.height) / self.stride), int(1 + (W - self.width) / self.stride)
        col = im2col(x, self.height, self.width, self.stride).reshape(-1, self.height * self.width)
        self.x, self.arg_max = x, np.argmax(col, axis=1)
        return np.max(col, axis=1).reshape(N, out_h, out_w, C).transpose(0, 3, 1, 2)

    def backward(self, dout: Array) -> Array:
        dout = dout.transpose(0, 2, 3, 1)
        size = self.height * self.width
        dmax = np.zeros((dout.size, size))
        dmax[np.arange(self.arg_max.size), self.winner().flatten()] = dout.flatten()
        dmax = dmax.reshape((*dout.shape, size))
        dcol = dmax.reshape(dmax.shape[0] * dmax.shape[1] * dmax.shape[2], -1)
        return col2im(dcol, self.x.shape, self.height, self.width, self.stride)

    def winner(self) -> Array:
        return self.arg_max


class FirstPooling(Pooling):
    def winner(self) -> Array:
        return np.zeros_like(self.arg_max)


class BatchNormalization:
    def __init__(self, gamma: Array, beta: Array, momentum: float = 0.9) -> None:
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean: Any = None
        self.running_var: Any = None
        self.dgamma: Any = None
        self.dbeta: Any = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        return self.__forward(x, train_flg)

    def __forward(self, x: Array, train_flg: bool) -> Array:
        if self.running_mean is None:
            self.running_mean, self.running_var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        if train_flg:
            mu = x.mean(axis=0)
            self.xc = x - mu
            var = np.mean(self.xc**2, axis=0)
            self.std = np.sqrt(var + 10e-7)
            self.xn = self.xc / self.std
            self.batch_size = x.shape[0]
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
            xn = self.xn
        else:
            xn = (x - self.running_mean) / np.sqrt(self.running_var + 10e-7)
        return self.gamma * xn + self.beta

    def backward(self, dout: Array) -> Array:
        self.dbeta = dout.sum(axis=0)
        self.dgamma = np.sum(self.xn * dout, axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum((dxn * self.xc) / (self.std * self.std), axis=0)
        dxc += self.through_variance(0.5 * dstd / self.std)
        return dxc - np.sum(dxc, axis=0) / self.batch_size

    def through_variance(self, dvar: Array) -> Array:
        return (2.0 / self.batch_size) * self.xc * dvar


class FrozenVariance(BatchNormalization):
    def through_variance(self, dvar: Array) -> Array:
        return np.zeros_like(self.xc)
