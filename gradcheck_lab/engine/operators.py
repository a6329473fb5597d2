"""Python's operators as ops of this package, for Variables and for the tensors of a traced program."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.op import Op

# torch's name of an operator, on either side -> (our op, whether its operands come reversed)
OPERATORS: dict[str, tuple[str, bool]] = {
    "add": ("add", False),
    "__radd__": ("add", True),
    "sub": ("sub", False),
    "__rsub__": ("sub", True),
    "rsub": ("sub", True),
    "mul": ("mul", False),
    "__rmul__": ("mul", True),
    "div": ("div", False),
    "true_divide": ("div", False),
    "__rdiv__": ("div", True),
    "__rtruediv__": ("div", True),
    "pow": ("pow", False),
    "__rpow__": ("pow", True),
    "matmul": ("matmul", False),
    "__rmatmul__": ("matmul", True),
    "neg": ("neg", False),
    # h += x, which binds a new value to h where one of them is a Variable, and so it does in the program that is traced
    "add_": ("add", False),
    "sub_": ("sub", False),
    "mul_": ("mul", False),
    "div_": ("div", False),
    "pow_": ("pow", False),
}


def takes_operator(name: str, operands: tuple[Any, ...]) -> bool:
    """Whether an op stands behind an operator on these operands: none does for flags and indices, which torch multiplies by."""
    if name not in OPERATORS:
        return False
    op, inputs = _operation(name, operands)
    try:
        op.validate(tuple(getattr(value, "data", value) for value in inputs), {})
    except InvalidArgument:
        return False
    return True


def operator(name: str, operands: tuple[Any, ...]) -> Any:
    """Apply the op behind an operator; plain numbers become tensors of the other operand's dtype and device.

    A whole number as an exponent becomes an integer, of which there is no gradient: a real one has none for a negative base.
    """
    op, inputs = _operation(name, operands)
    return op(*inputs)


def _operation(name: str, operands: tuple[Any, ...]) -> tuple[Op, tuple[Any, ...]]:
    from gradcheck_lab import ops

    op_name, reversed_ = OPERATORS[name]
    if reversed_:
        operands = operands[::-1]
    like = next(value for value in operands if hasattr(value, "dtype"))
    inputs = [
        torch.tensor(value, dtype=like.dtype, device=like.device) if isinstance(value, (int, float)) else value
        for value in operands
    ]
    exponent = operands[-1]
    if op_name == "pow" and isinstance(exponent, (int, float)) and float(exponent).is_integer():
        inputs[-1] = torch.tensor(int(exponent), device=like.device)
    found: Op = getattr(ops, op_name)
    return found, tuple(inputs)


def raw_function(name: str) -> str:
    """The message for a torch function that was applied to a Variable."""
    from gradcheck_lab import ops

    plain = name.rstrip("_")
    if name != plain and not name.startswith("_"):
        return f"torch's {name} was applied to a Variable, which nothing writes to; use {plain} and give its result a name"
    fix = (
        f"use gradcheck_lab.ops.{name}"
        if isinstance(getattr(ops, name, None), Op)
        else f"write it as an op: gl.Op(forward, backward, name={name!r})"
    )
    return f"torch's {name} was applied to a Variable, which runs hand-written ops only; {fix}"
