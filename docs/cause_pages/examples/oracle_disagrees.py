"""The solution y of y + y³ = x by bisection. Autograd follows the arithmetic of the loop and not the solution that it
closes in on; the hand-written backward differentiates the equation. Numbers agree with the backward, and decide.
"""

import torch

import gradcheck_lab as gl


def solve(x):
    low, high = -x.abs() - 1, x.abs() + 1
    for _ in range(80):
        middle = (low + high) / 2
        too_large = middle + middle**3 > x
        low, high = torch.where(too_large, low, middle), torch.where(too_large, middle, high)
    return (low + high) / 2


def solve_backward(grad_output, output, x):
    return (grad_output / (1 + 3 * output**2),)


# %% call
x = torch.tensor([0.5, -2.0, 7.0], dtype=torch.float64)
report = gl.check((solve, solve_backward), x)


# %% mended
def solution(x):
    y = solve(x.detach())
    return y - (y + y**3 - x) / (1 + 3 * y**2)  # one step of Newton's method, which autograd differentiates rightly


report = gl.check((solve, solve_backward), x, reference=solution)
