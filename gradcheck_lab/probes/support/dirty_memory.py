"""Memory that the hand-written side allocates and leaves unwritten holds NaN: what it forgets is seen on every derived call."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.subjects.subject import Manual, Recording, Subject

_OF_TORCH = ("empty", "empty_like", "empty_strided")
_OF_TENSORS = ("new_empty", "new_empty_strided")
_OF_NUMPY = ("empty", "empty_like")
Tell = Callable[[tuple[Any, ...], Mapping[str, Any], tuple[torch.Tensor, ...]], object]
_Replaced = tuple[Any, str, Any]  # where a function was replaced, its name, and what stood there itself
_otherwise: list[object] = []  # the blocks that fill memory by themselves
_dirty_blocks: list[object] = []  # the blocks in which memory is dirty
_inside: list[object] = []  # the blocks in which names are replaced
_replaced: list[_Replaced] = []
_lock = threading.Lock()


def nobody(*call: object) -> None:
    """Tell nobody of a call."""


def with_dirty_memory(subject: Subject, tell: Tell = nobody) -> Subject:
    """The subject with a forward and a backward that find NaN in the memory that they allocate with `empty` and the like.

    `tell` is given the inputs, options and upstream gradients of each backward before it runs.
    """

    def record(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        with dirty_memory():
            recording = subject.record(inputs, options)

        def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
            tell(inputs, options, grad_outputs)
            with dirty_memory():
                return recording.backward(grad_outputs)

        return replace(recording, backward=backward)

    return replace(subject, record=record)


@contextmanager
def filled_otherwise() -> Iterator[None]:
    """A block in which memory is filled in another way."""
    _otherwise.append(None)
    try:
        yield
    finally:
        _otherwise.pop()


class names_replaced:
    """A block in which `dirty_memory` costs next to nothing, for it has no names to replace.

    Names are replaced, and not every operation watched, since that costs nothing where none of them is called. But it makes
    Python forget what it knows of the attributes of tensors: it is done once for many calls. Blocks may lie within one another,
    and in several threads.
    """

    def __enter__(self) -> None:
        with _lock:
            if not _inside:
                _replaced.extend(_replace())
            _inside.append(None)

    def __exit__(self, *raised: object) -> None:
        with _lock:
            _inside.pop()
            while not _inside and _replaced:
                home, name, own = _replaced.pop()
                if own is None:  # a tensor's method that torch's base class has
                    delattr(home, name)
                else:
                    setattr(home, name, own)


class dirty_memory(names_replaced):
    """Within the block, `torch.empty`, `numpy.empty` and the like return memory filled with NaN."""

    def __enter__(self) -> None:
        super().__enter__()
        _dirty_blocks.append(None)

    def __exit__(self, *raised: object) -> None:
        _dirty_blocks.pop()
        super().__exit__(*raised)


def _replace() -> Iterator[_Replaced]:
    homes = [(torch, _OF_TORCH), (torch.Tensor, _OF_TENSORS), (sys.modules.get("numpy"), _OF_NUMPY)]
    for home, name in [(home, name) for home, names in homes if home is not None for name in names]:
        own, make = vars(home).get(name), getattr(home, name)
        setattr(home, name, _dirty(make))
        yield home, name, own


def _dirty(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        result = make(*args, **kwargs)
        if _otherwise or not _dirty_blocks:
            return result
        if is_differentiable(result):
            if not result.requires_grad and result.device.type != "meta":
                result.fill_(math.nan)
        elif getattr(getattr(result, "dtype", None), "kind", "") in ("f", "c"):
            result.fill(math.nan)
        return result

    return made
