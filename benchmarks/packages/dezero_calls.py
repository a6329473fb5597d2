"""dezero: the NumPy framework of a book on deep learning. It is of before NumPy 1.24, whose absent names are put back first."""

import numpy as np

import numpy_of_then  # noqa: F401 # isort: skip
import dezero
import dezero.core as core
import dezero.functions as F
from arrays import OnArrays

import gradcheck_lab as gl

RNG = np.random.default_rng(0)
X, Y, W, B = RNG.normal(size=(4, 5)), RNG.normal(size=(4, 5)), RNG.normal(size=(5, 3)), RNG.normal(size=3)
ROW, POSITIVE = RNG.normal(size=5), np.abs(RNG.normal(size=(4, 5))) + 0.5
LABELS = np.array([0, 2, 1, 3])
IMAGE, KERNEL, BIAS = RNG.normal(size=(2, 3, 5, 5)), RNG.normal(size=(4, 3, 3, 3)), RNG.normal(size=4)
SMALL, EVEN, WIDE = RNG.normal(size=(2, 4, 3, 3)), RNG.normal(size=(2, 3, 4, 4)), RNG.normal(size=(2, 3, 4, 6))


def made(function):
    return OnArrays(function, dezero.Variable)


sin, cos, tanh, exp, log = made(F.sin), made(F.cos), made(F.tanh), made(F.exp), made(F.log)
sigmoid, relu, leaky_relu = made(F.sigmoid), made(F.relu), made(F.leaky_relu)
softmax, log_softmax = made(F.softmax), made(F.log_softmax)
flatten, transpose = made(F.flatten), made(F.transpose)
total, row_sum = made(F.sum), made(lambda x: F.sum(x, axis=1))
sum_to, broadcast_to = made(lambda x: F.sum_to(x, (1, 5))), made(lambda x: F.broadcast_to(x, (4, 5)))
matmul, linear = made(F.matmul), made(F.linear)
get_item = made(lambda x: F.get_item(x, np.array([0, 0, 2])))
mean_squared_error, softmax_cross_entropy = made(F.mean_squared_error), made(F.softmax_cross_entropy)
batch_norm = made(lambda x, gamma, beta: F.batch_nrom(x, gamma, beta, np.zeros(5), np.ones(5)))
largest, row_max, row_min = made(F.max), made(lambda x: F.max(x, axis=1)), made(lambda x: F.min(x, axis=1))
clip = made(lambda x: F.clip(x, -0.5, 0.5))
conv2d = made(lambda x, w, b: F.conv2d(x, w, b, stride=2, pad=1))
deconv2d = made(lambda x, w, b: F.deconv2d(x, w, b, stride=2, pad=1))
pooling, average_pooling = made(lambda x: F.pooling(x, 2, 2)), made(lambda x: F.average_pooling(x, 2, 2))
average_pooling_of_2_by_3 = made(lambda x: F.average_pooling(x, (2, 3), 1))
im2col = made(lambda x: F.im2col(x, 3, 1, 1))
add, sub, mul, div = made(core.add), made(core.sub), made(core.mul), made(core.div)
cube, neg = made(lambda x: core.pow(x, 3)), made(core.neg)

if __name__ == "__main__":
    gl.check(sin, X)
    gl.check(cos, X)
    gl.check(tanh, X)
    gl.check(exp, X)
    gl.check(log, POSITIVE)
    gl.check(sigmoid, X)
    gl.check(relu, X)
    gl.check(leaky_relu, X)
    gl.check(softmax, X)
    gl.check(log_softmax, X)
    gl.check(flatten, X)
    gl.check(transpose, X)
    gl.check(total, X)
    gl.check(row_sum, X)
    gl.check(sum_to, X)
    gl.check(broadcast_to, ROW)
    gl.check(matmul, X, W)
    gl.check(linear, X, W, B)
    gl.check(get_item, X)
    gl.check(mean_squared_error, X, Y)
    gl.check(softmax_cross_entropy, X, LABELS)
    gl.check(batch_norm, X, ROW, ROW)
    gl.check(largest, X)
    gl.check(row_max, X)
    gl.check(row_min, X)
    gl.check(clip, X)
    gl.check(conv2d, IMAGE, KERNEL, BIAS)
    gl.check(deconv2d, SMALL, KERNEL, B)
    gl.check(pooling, EVEN)
    gl.check(average_pooling, EVEN)
    gl.check(average_pooling_of_2_by_3, WIDE)
    gl.check(im2col, EVEN)
    gl.check(add, X, ROW)
    gl.check(sub, X, ROW)
    gl.check(mul, X, ROW)
    gl.check(div, X, POSITIVE)
    gl.check(cube, X)
    gl.check(neg, X)
