"""Subjects that cannot be read, as their authors would write them; `K` is 1 in the sound twin and another factor in the wrong.

Each is run as a module of its own: the code ends with the call that is refused.
"""

from __future__ import annotations

HEAD = """
import numpy as np
import torch
import gradcheck_lab as gl
rng = np.random.default_rng(0)
x, w, v = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=(4, 3))
tx, tw = torch.tensor(x), torch.tensor(w)
"""

PAIRS = {
    "inputs-then-upstream": """
def matmul(x, w): return x @ w
def pull(p, q, r): return K * (r @ q.T), p.T @ r
gl.check((matmul, pull), x, w)""",
    "upstream-then-inputs": """
def matmul(x, w): return x @ w
def pull(p, q, r): return K * (p @ r.T), q.T @ p
gl.check((matmul, pull), x, w)""",
    "equal-shapes": """
def mul(a, b): return a * b
def pull(p, q, r): return K * r * q, p * r
gl.check((mul, pull), x, v)""",
    "derivative-of-the-output": """
def tanh(x): return np.tanh(x)
def slope(s): return K * (1 - s**2)
gl.check((tanh, slope), x)""",
    "output-and-upstream": """
def tanh(x): return np.tanh(x)
def slope(s, t): return K * (1 - s**2) * t
gl.check((tanh, slope), x)""",
    "cache-before-the-result": """
def run(x, w): return (x, w), x @ w
def pull(store, u):
    a, b = store
    return K * (u @ b.T), a.T @ u
gl.check((run, pull), x, w)""",
    "cache-upstream-and-rate": """
def run(x, w): return x @ w, (x, w)
def pull(store, u, lr):
    a, b = store
    return K * (u @ b.T), a.T @ u
gl.check((run, pull), x, w)""",
    "cache-upstream-and-more": """
def run(x, w): return x @ w, (x, w)
def pull(store, u, extra):
    a, b = store
    return K * (u @ b.T), a.T @ u
gl.check((run, pull), x, w)""",
    "two-outputs": """
def run(x, w):
    s = x @ w
    return s, s.sum(1)
def pull(p, q, r, s):
    g = p + q[:, None]
    return K * (g @ s.T), r.T @ g
gl.check((run, pull), x, w)""",
    "array-as-a-cache": """
def run(x):
    h = np.maximum(x, 0)
    return h, x
def pull(kept, u): return K * u * (kept > 0)
gl.check((run, pull), x)""",
    "a-number-among-the-inputs": """
def power(x, n): return x**n
def pull(b, a, m): return K * b * m * a ** (m - 1)
gl.check((power, pull), x, 3)""",
    "an-option": """
def run(x, *, scale=1.0): return x * scale
def pull(b, scale): return K * b * scale
gl.check((run, pull), x, options={"scale": 2.0})""",
    "op-in-torch": """
def run(x, w): return x @ w
def pull(p, q, r): return K * (r @ q.T), p.T @ r
gl.check(gl.Op(run, pull), tx, tw)""",
    "pair-in-torch": """
def run(x, w): return x @ w
def pull(p, q, r): return K * (r @ q.T), p.T @ r
gl.check((run, pull), tx, tw)""",
    "static-functions": """
class Matmul:
    @staticmethod
    def forward(x, w): return x @ w
    @staticmethod
    def backward(p, q, r): return K * (r @ q.T), p.T @ r
gl.check(Matmul, x, w)""",
    "flag-of-the-forward": """
def sine(x, deriv=False): return K * np.cos(x) if deriv else np.sin(x)
gl.check(sine, x)""",
    "flag-that-takes-the-output": """
def sigmoid(x, deriv=False): return K * x * (1 - x) if deriv else 1 / (1 + np.exp(-x))
gl.check(sigmoid, x)""",
}
