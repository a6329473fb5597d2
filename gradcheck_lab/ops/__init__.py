"""Hand-written ops: each a forward, its backward, and specs of its inputs. One family a file."""

from __future__ import annotations

from gradcheck_lab.op import Op
from gradcheck_lab.ops.activations import relu
from gradcheck_lab.ops.arithmetic import add, div, mul, neg, sub
from gradcheck_lab.ops.linear import linear, matmul
from gradcheck_lab.ops.losses import mse_loss, softmax_cross_entropy

FAMILIES: dict[str, tuple[Op, ...]] = {
    "activations": (relu,),
    "arithmetic": (add, sub, mul, div, neg),
    "linear": (linear, matmul),
    "losses": (softmax_cross_entropy, mse_loss),
}

__all__ = [
    "FAMILIES",
    "add",
    "div",
    "linear",
    "matmul",
    "mse_loss",
    "mul",
    "neg",
    "relu",
    "softmax_cross_entropy",
    "sub",
]
