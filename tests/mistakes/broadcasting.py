"""Mistakes in the backwards of ops that broadcast, and of products."""

import torch

from gradcheck_lab.ops import add, div, matmul, mul
from tests.mistakes import Planted, scaled

Tensor = torch.Tensor
Pair = tuple[Tensor, Tensor]


def swapped(grad_output: Tensor, output: Tensor, a: Tensor, b: Tensor) -> Pair:
    return grad_output * a, grad_output * b


def not_transposed(grad_output: Tensor, output: Tensor, a: Tensor, b: Tensor) -> Pair:
    return grad_output @ b, a.mT @ grad_output


def squared_denominator_forgotten(grad_output: Tensor, output: Tensor, a: Tensor, b: Tensor) -> Pair:
    return grad_output / b, -grad_output * a / b


MISTAKES = (
    Planted("wrong-sign", add, scaled(add, 1, lambda *inputs: -1), {"b": "sign"}),
    Planted("swapped", mul, swapped, {"a": "slots-swapped", "b": "slots-swapped"}),
    Planted("doubled", mul, scaled(mul, 0, lambda *inputs: 2), {"a": "constant-factor"}),
    Planted("squared-denominator-forgotten", div, squared_denominator_forgotten, {"b": "missing-factor"}),
    Planted("not-transposed", matmul, not_transposed, {"a": "wrong-operand"}, sizes={"k": "m", "n": "m"}),
)
