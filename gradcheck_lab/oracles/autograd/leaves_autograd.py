"""Whether a forward leaves autograd on its way: it detaches, reads a number out, or switches gradients off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.subjects.forward_bodies import CodePart, running_code
from gradcheck_lab.subjects.runner import Runner

_LEAVES = frozenset("detach detach_ item tolist numpy __array__ set_grad_enabled _set_grad_enabled".split())


def leaves_autograd(runner: Runner, case: Case) -> CodePart | None:
    """Where the forward leaves autograd, in one more run of it; None where it does not.

    In a "body" that is hand-written, or only "around" those, in code that torch differentiates as it stands.
    """
    subject = runner.subject
    if subject.trace is None:
        return "body"
    inputs = tuple(v.detach().requires_grad_() if is_differentiable(v) else v for v in case.inputs)
    watch = _Watch()
    try:
        with torch.enable_grad(), watch:
            runner.trace(inputs, case)
    except Exception:  # it runs without the watch: whatever it does under it, it is not plain torch
        return "body"
    if not subject.written_in_torch and "around" in watch.left:
        return "body"
    return "body" if "body" in watch.left else "around" if "around" in watch.left else None


class _Watch(TorchFunctionMode):
    """Notices calls by which a forward leaves autograd: in the body of a hand-written rule, or around these."""

    def __init__(self) -> None:
        super().__init__()
        self.left: set[CodePart] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        if name in _LEAVES or (name == "__get__" and owner == "data"):
            self.left.add(running_code())
        return func(*args, **(kwargs or {}))
