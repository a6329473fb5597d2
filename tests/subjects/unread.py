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

LAYERS = {
    "strange-method-names": """
class Dense:
    def __init__(self): self.W = rng.normal(size=(3, 2)); self.dW = None
    def apply(self, x): self.x = x; return x @ self.W
    def unapply(self, g): self.dW = K * self.x.T @ g; return g @ self.W.T
dense = Dense()
gl.check(dense, x)""",
    "strange-methods-and-gradient": """
class Scale:
    def __init__(self): self.factor = rng.normal(size=3)
    def run(self, x): self.seen = x; return x * self.factor
    def pull(self, g): self.slope = K * (g * self.seen).sum(axis=0); return g * self.factor
scale = Scale()
gl.check(scale, x)""",
    "gradient-attribute-of-a-strange-name": """
class Affine:
    def __init__(self): self.W = rng.normal(size=(3, 2)); self.b = rng.normal(size=2)
    def forward(self, x): self.x = x; return x @ self.W + self.b
    def backward(self, g): self.sensitivity = K * self.x.T @ g; self.total = g.sum(0); return g @ self.W.T
layer = Affine()
gl.check(layer, x)""",
    "backward-of-cache-upstream-and-rate": """
class Affine:
    def __init__(self): self.W = rng.normal(size=(3, 2)); self.dW = None
    def forward(self, x): self.cache = x; return x @ self.W
    def backward(self, cache, dout, strength): self.dW = K * cache.T @ dout; return dout @ self.W.T
layer = Affine()
gl.check(layer, x)""",
    "recurrent-cell-of-a-course": """
class Cell:
    def __init__(self): self.W = rng.normal(size=(3, 3)); self.U = rng.normal(size=(3, 3)); self.dW = self.dU = None
    def forward(self, x, h_prev):
        self.x, self.h = x, h_prev
        self.h_t = np.tanh(x @ self.W + h_prev @ self.U)
        return self.h_t
    def backward(self, delta, h_t, h_prev_l, h_prev_t):
        d = delta * (1 - h_t**2)
        self.dW, self.dU = h_prev_l.T @ d, K * h_prev_t.T @ d
        return d @ self.W.T, d @ self.U.T
cell = Cell()
gl.check(cell, x, v)""",
    "second-result-of-the-forward": """
class Net:
    def __init__(self): self.W = rng.normal(size=(3, 2)); self.dW = None
    def run(self, x): self.x = x; return "log", x @ self.W
    def back(self, g): self.dW = K * self.x.T @ g; return g @ self.W.T
net = Net()
gl.check(net, x)""",
    "gradients-returned-in-a-row": """
class Net:
    def __init__(self): self.W = rng.normal(size=(3, 2)); self.b = rng.normal(size=2)
    def run(self, x): self.x = x; return x @ self.W + self.b
    def back(self, g): return g.sum(0), K * self.x.T @ g, g @ self.W.T
net = Net()
gl.check(net, x)""",
    "gradient-of-the-input-is-stored": """
class Net:
    def __init__(self): self.W = rng.normal(size=(3, 2))
    def run(self, x): self.x = x; return x @ self.W
    def back(self, g): self.first, self.second = K * self.x.T @ g, g @ self.W.T
net = Net()
gl.check(net, x)""",
    "setup-before-the-call": """
class Late:
    def __init__(self): self.W = self.dW = None
    def setup(self): self.W = rng.normal(size=(3, 2))
    def forward(self, x): self.x = x; return x @ self.W
    def backward(self, g): self.dW = K * self.x.T @ g; return g @ self.W.T
layer = Late()
gl.check(layer, x)""",
    "build-with-a-shape": """
class Late:
    def build(self, input_shape): self.W = rng.normal(size=(input_shape[-1], 2))
    def forward(self, x): self.x = x; return x @ self.W
    def backward(self, g): self.dW = K * self.x.T @ g; return g @ self.W.T
layer = Late()
gl.check(layer, x)""",
    "class-instead-of-an-object": """
class Dense:
    def __init__(self, n_in, n_out): self.W = rng.normal(size=(n_in, n_out)); self.dW = None
    def forward(self, x): self.x = x; return x @ self.W
    def backward(self, g): self.dW = K * self.x.T @ g; return g @ self.W.T
gl.check(Dense, x)""",
    "class-of-strange-methods": """
class Tanh:
    def activate(self, x): self.y = np.tanh(x); return self.y
    def undo(self, g): return K * g * (1 - self.y**2)
gl.check(Tanh, x)""",
    "activation-and-slope": """
class Relu:
    def __call__(self, x): return np.maximum(x, 0)
    def slope(self, x, upstream): return K * upstream * (x > 0)
relu = Relu()
gl.check(relu, x)""",
    "in-torch": """
class Dense:
    def __init__(self): self.W = torch.tensor(rng.normal(size=(3, 2))); self.dW = None
    def apply(self, x): self.x = x; return x @ self.W
    def unapply(self, g): self.dW = K * self.x.T @ g; return g @ self.W.T
dense = Dense()
gl.check(dense, tx)""",
    "list-of-parameters": """
class Dense:
    def __init__(self): self.params = [rng.normal(size=(3, 2)), rng.normal(size=2)]; self.slopes = [None, None]
    def forward(self, x): self.x = x; return x @ self.params[0] + self.params[1]
    def backward(self, g):
        self.slopes[0], self.slopes[1] = K * self.x.T @ g, g.sum(0)
        return g @ self.params[0].T
dense = Dense()
gl.check(dense, x)""",
}
