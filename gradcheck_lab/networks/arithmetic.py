"""A define-by-run graph of operators and shape ops with values used twice, and its gradients by variable name."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.engine.variable import Variable, record
from gradcheck_lab.networks.lockstep import Program
from gradcheck_lab.ops import matmul, reshape, split, sum, transpose

Operand = Any


def arithmetic(x: Operand, y: Operand, w: Operand) -> Operand:
    """A scalar made of sums, products, reshapes and slices, in which three values are used more than once.

    `x` and `y` (2, 6), `w` (3, 2); tensors or Variables.
    """
    total = x + y
    tall = reshape(total, shape=(4, 3))
    product = matmul(tall, w)
    first, second = split(product, split_size=2, dim=0)
    joined = first + second
    turned = transpose(second)
    square = matmul(turned, joined)
    difference = square - joined
    squares = difference * difference
    result = sum(squares)
    return result


def gradients_by_name(program: Program, **inputs: torch.Tensor | float) -> dict[str, torch.Tensor]:
    """Run `program` on Variables of the `inputs`, run its backward, and return each gradient by its variable's name.

    `inputs` are tensors of any shapes, or numbers; a gradient has the shape of its value. The names are those of the inputs
    and those that the program assigns its values to; a value that the result does not depend on has none.

    >>> def program(a, b):
    ...     c = a * b
    ...     d = c + a
    ...     return d
    >>> {name: grad.item() for name, grad in gradients_by_name(program, a=3.0, b=2.0).items()}
    {'a': 3.0, 'b': 3.0, 'c': 1.0, 'd': 1.0}
    """
    variables = {name: Variable(value, name) for name, value in inputs.items()}
    with record() as tape:
        result = program(**variables)
    result.backward()
    for node in tape:
        variables |= dict(zip(node.names, node.outputs, strict=False))
    return {name: variable.grad for name, variable in variables.items() if variable.grad is not None}
