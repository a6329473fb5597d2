"""A mean squared error in NumPy, with its derivative beside it. The derivative has the target where the prediction
should be, so that every step of training walks uphill.
"""

import numpy as np

import gradcheck_lab as gl


def mse(prediction, target):
    return np.mean((prediction - target) ** 2)


def mse_prime(prediction, target):
    return 2 * (target - prediction) / target.size


# %% call
prediction = np.array([0.5, -1.0, 2.0])
target = np.array([1.0, 0.0, 1.5])
report = gl.check((mse, mse_prime), prediction, target)


# %% mended
def mse_prime(prediction, target):
    return 2 * (prediction - target) / target.size
