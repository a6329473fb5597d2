"""pygrad: a small NumPy framework. It is of before NumPy 1.24, whose `can_cast` took abstract types."""

import numpy as np

import numpy_of_then  # noqa: F401 # isort: skip
import pygrad.functions as F
from arrays import OnArrays
from pygrad.core import Variable, add, div, mul, neg, sub

import gradcheck_lab as gl

RNG = np.random.default_rng(0)
X, Y, W, B = RNG.normal(size=(4, 5)), RNG.normal(size=(4, 5)), RNG.normal(size=(5, 3)), RNG.normal(size=3)
ROW, POSITIVE, CUBE = RNG.normal(size=5), np.abs(RNG.normal(size=(4, 5))) + 0.5, RNG.normal(size=(2, 3, 4))
LABELS = np.array([0, 2, 1, 3])


def made(function):
    return OnArrays(function, Variable)


exp, square, sin, cos, tanh = made(F.exp), made(F.square), made(F.sin), made(F.cos), made(F.tanh)
total, row_sum = made(F.sum), made(lambda x: F.sum(x, axis=1))
matmul, linear, mean_squared_error = made(F.matmul), made(F.linear), made(F.mean_squared_error)
sigmoid, relu, leaky_relu, log = made(F.sigmoid), made(F.relu), made(F.leaky_relu), made(F.log)
softmax, log_softmax, softmax_cross_entropy = made(F.softmax), made(F.log_softmax), made(F.softmax_cross_entropy)
transpose = made(lambda x: F.transpose(x, (1, 2, 0)))
get_item = made(lambda x: F.get_item(x, np.array([0, 0, 2])))
broadcast_to = made(lambda x: F.broadcast_to(x, (4, 5)))
sum_of_two, difference, product, quotient, opposite = made(add), made(sub), made(mul), made(div), made(neg)

if __name__ == "__main__":
    gl.check(exp, X)
    gl.check(square, X)
    gl.check(sin, X)
    gl.check(cos, X)
    gl.check(tanh, X)
    gl.check(total, X)
    gl.check(row_sum, X)
    gl.check(matmul, X, W)
    gl.check(linear, X, W, B)
    gl.check(mean_squared_error, X, Y)
    gl.check(sigmoid, X)
    gl.check(relu, X)
    gl.check(leaky_relu, X)
    gl.check(log, POSITIVE)
    gl.check(softmax, X)
    gl.check(log_softmax, X)
    gl.check(softmax_cross_entropy, X, LABELS)
    gl.check(transpose, CUBE)
    gl.check(get_item, X)
    gl.check(broadcast_to, ROW)
    gl.check(sum_of_two, X, ROW)
    gl.check(difference, X, ROW)
    gl.check(product, X, ROW)
    gl.check(quotient, X, POSITIVE)
    gl.check(opposite, X)
