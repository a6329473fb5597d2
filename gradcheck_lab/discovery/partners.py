"""Functions of a module that carry a gradient: a forward whose backward stands beside it, and a loss that returns its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

from gradcheck_lab.discovery.targets import locate, module_name_of
from gradcheck_lab.rules.layer import Layer
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.layers.code import returned_names
from gradcheck_lab.subjects.layers.gradient_names import looks_like_gradient

_SWAPS = (("forward", "backward"), ("fwd", "bwd"), ("fprop", "bprop"), ("Forward", "Backward"))
_SUFFIXES = ("backward", "grad", "gradient", "prime", "derivative", "deriv", "bwd", "vjp")
_PREFIXES = ("grad_", "d_", "d", "backward_", "derivative_of_", "gradient_of_")


def subject_at(target: str) -> Any:
    """What stands at `pkg.module:name`: a forward whose backward stands beside it as a pair of both, else the object itself.

    Raises `InvalidArgument` as `locate` does.
    """
    found, (module, _, name) = locate(target), target.partition(":")
    space = vars(sys.modules[module_name_of(module)])
    partner = partner_of(name, space) if isinstance(found, FunctionType) else None
    return found if partner is None else (found, space[partner])


def partner_of(name: str, space: Mapping[str, Any]) -> str | None:
    """The name of the backward of a forward, by the names that people give the two; None where there is none.

    >>> def relu_forward(x): ...
    >>> def relu_backward(dout, cache): ...
    >>> partner_of("relu_forward", {"relu_forward": relu_forward, "relu_backward": relu_backward})
    'relu_backward'
    """
    forward = space.get(name)
    for other in _partners(name):
        backward = space.get(other)
        if isinstance(backward, FunctionType) and backward is not forward and backward.__module__ == forward.__module__:
            return other
    return None


def carries_gradient(name: str, value: Any, space: Mapping[str, Any]) -> bool:
    """Whether a function is the forward of a pair, or returns a loss and then what is called as gradients are.

    The functions of an op or a layer are no subjects of their own.
    """
    if not isinstance(value, FunctionType) or _is_used(value, space):
        return False
    if partner_of(name, space) is not None:
        return True
    returned = returned_names(value) or ()
    return (
        len(returned) > 1 and re.search(r"loss|cost|err", returned[0].lower()) is not None and looks_like_gradient(returned[1])
    )


def _partners(name: str) -> Iterator[str]:
    yield from (name.replace(a, b) for a, b in _SWAPS if a in name)
    yield from (f"{name}_{suffix}" for suffix in _SUFFIXES)
    yield from (f"{prefix}{name}" for prefix in _PREFIXES)


def _is_used(value: FunctionType, space: Mapping[str, Any]) -> bool:
    others = list(space.values())
    used = [each.forward for each in others if isinstance(each, Op)]
    used += [each.obj for each in others if isinstance(each, Layer)]
    pairs = [each for each in others if isinstance(each, tuple) and len(each) == 2]
    return any(value is each for each in used) or any(value is each for pair in pairs for each in pair)
