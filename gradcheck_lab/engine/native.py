"""Steps of a program that are torch's own functions: run under autograd, which is trusted, between the hand-written rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from gradcheck_lab.torch_internals import pytree

# these hand out numbers or write, which the hand-written side cannot tell from a mistake
REFUSED = frozenset(
    "tolist numpy __array__ __dlpack__ backward requires_grad_ retain_grad register_hook __setitem__ data".split()
)
PROPERTIES = frozenset("mT T H mH real imag".split())

_steps: ContextVar[dict[str, None] | None] = ContextVar("native_steps", default=None)


@contextmanager
def native_steps() -> Iterator[dict[str, None]]:
    """Within the block, torch's functions may be applied to Variables; collects the names of those that are, in order."""
    found: dict[str, None] = {}
    token = _steps.set(found)
    try:
        yield found
    finally:
        _steps.reset(token)


def takes_native(name: str) -> bool:
    """Whether a torch function of this name may be applied to a Variable here: within a program, and not in place."""
    in_place = name.endswith("_") and not name.endswith("__")
    return _steps.get() is not None and name not in REFUSED and not in_place


def run_native(
    name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], kind: type
) -> tuple[Any, list[Any], Callable[..., Any]]:
    """Run a torch function on arguments that hold Variables, objects of class `kind` with `data`.

    Returns its result on tensors that autograd tracks, the Variables, and a rule that gives their gradients through that graph.
    """
    steps = _steps.get()
    assert steps is not None
    steps[name] = None
    leaves, spec = pytree.tree_flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, kind)]
    variables = [leaves[i] for i in places]
    tracked = [_tracked(variable.data) for variable in variables]
    for i, value in zip(places, tracked, strict=True):
        leaves[i] = value
    given, keywords = pytree.tree_unflatten(leaves, spec)
    with torch.enable_grad():
        result = func(*given, **keywords)
    outputs = [o for o in pytree.tree_leaves(result) if isinstance(o, torch.Tensor) and o.requires_grad]
    wanted = [v for v in tracked if v.requires_grad]

    def rule(grad_outputs: Any, output: Any, *inputs: Any) -> tuple[Any, ...]:
        grads = grad_outputs if isinstance(grad_outputs, tuple) else (grad_outputs,)
        with torch.enable_grad():
            found = iter(torch.autograd.grad(outputs, wanted, grads, retain_graph=True, allow_unused=True))
        return tuple(next(found) if v.requires_grad else None for v in tracked)

    return result, variables, rule


def _tracked(value: torch.Tensor) -> torch.Tensor:
    differentiable = value.is_floating_point() or value.is_complex()
    return value.detach().view_as(value).requires_grad_() if differentiable else value
