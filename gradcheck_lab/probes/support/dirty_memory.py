"""Memory that the hand-written side allocates and leaves unwritten holds NaN: what it forgets is seen on every derived call."""

from __future__ import annotations

import math
import sys
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
_otherwise: list[object] = []  # the blocks that fill memory by themselves


def with_dirty_memory(subject: Subject) -> Subject:
    """The subject with a forward and a backward that find NaN in the memory that they allocate with `empty` and the like."""

    def record(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        with dirty_memory():
            recording = subject.record(inputs, options)

        def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
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


@contextmanager
def dirty_memory() -> Iterator[None]:
    """Within the block, `torch.empty`, `numpy.empty` and the like return memory filled with NaN.

    Their names are replaced, which costs nothing where they are not called, unlike a mode that sees every operation.
    """
    if _otherwise:
        yield
        return
    homes = [(torch, _OF_TORCH), (torch.Tensor, _OF_TENSORS), (sys.modules.get("numpy"), _OF_NUMPY)]
    before = [(home, name, vars(home).get(name), getattr(home, name)) for home, names in homes if home for name in names]
    for home, name, _, make in before:
        setattr(home, name, _dirty(make))
    try:
        yield
    finally:
        for home, name, own, _ in before:
            if own is None:  # a tensor's method that torch's base class has
                delattr(home, name)
            else:
                setattr(home, name, own)


def _dirty(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        result = make(*args, **kwargs)
        if is_differentiable(result):
            if not result.requires_grad and result.device.type != "meta":
                result.fill_(math.nan)
        elif getattr(getattr(result, "dtype", None), "kind", "") in ("f", "c"):
            result.fill(math.nan)
        return result

    return made
