"""The calls by which code leaves autograd: it detaches, reads a number out, or switches gradients off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode

from gradcheck_lab.subjects.forward_bodies import CodePart, running_code
from gradcheck_lab.subjects.torch_conventions import conventions_of

_LEAVES = frozenset("detach detach_ item tolist numpy __array__ set_grad_enabled _set_grad_enabled".split())


class LeavingAutograd(TorchFunctionMode):
    """Notices calls by which a forward leaves autograd: in the body of a hand-written rule, or around these.

    `conventions` are what functions of torch do with gradients that is not their derivative, each in words.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left: set[CodePart] = set()
        self.conventions: dict[str, None] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        if name in _LEAVES or (name == "__get__" and owner == "data"):
            self.left.add(running_code())
        self.conventions |= dict.fromkeys(conventions_of(func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))
