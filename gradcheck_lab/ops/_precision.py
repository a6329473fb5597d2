"""The arithmetic of rules on 16-bit numbers: in float32, each gradient rounded once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch

from gradcheck_lab.model.precision import is_narrow

Rule = TypeVar("Rule", bound=Callable[..., Any])


def rounded_once(rule: Rule) -> Rule:
    """Run a rule on 16-bit tensors in float32, and round each gradient to its input's dtype, as torch's own kernels do.

    >>> @rounded_once
    ... def cube_backward(grad_output, output, x):
    ...     return (grad_output * 3 * x * x,)
    >>> x = torch.tensor([200.0], dtype=torch.float16)
    >>> cube_backward(torch.full_like(x, 0.25), x, x)
    (tensor([30000.], dtype=torch.float16),)
    """

    @wraps(rule)
    def in_float32(grad_output: Any, output: Any, *inputs: Any, **options: Any) -> Any:
        if not any(map(_has_16_bits, inputs)):
            return rule(grad_output, output, *inputs, **options)
        grads = rule(wide(grad_output), wide(output), *map(wide, inputs), **options)
        return tuple(grad if grad is None else grad.to(value.dtype) for grad, value in zip(grads, inputs, strict=True))

    return cast("Rule", in_float32)


def _has_16_bits(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and is_narrow(value.dtype)


def wide(value: Any) -> Any:
    """A 16-bit tensor in float32, those of a tuple alike; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(map(wide, value))
    return value.float() if _has_16_bits(value) else value
