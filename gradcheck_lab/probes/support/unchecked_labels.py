"""`torch.ctc_loss` writes beyond its memory for labels that are no classes: on derived calls it refuses them instead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch

_lock = threading.Lock()
_inside: list[Callable[..., Any]] = []  # the function as it was, once for each block that runs


@contextmanager
def labels_checked() -> Iterator[None]:
    """A block in which the loss raises for labels below 0 or beyond the classes, and for anything but times, rows and classes.

    The user's own call runs without it. Blocks may lie within one another, and in several threads.
    """
    with _lock:
        _inside.append(_inside[0] if _inside else torch.ctc_loss)
        torch.ctc_loss = _checked(_inside[0])
    try:
        yield
    finally:
        with _lock:
            own = _inside.pop()
            if not _inside:
                torch.ctc_loss = own


def _checked(loss: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(loss)
    def checked(log_probs: Any, targets: Any, *args: Any, **kwargs: Any) -> Any:
        if log_probs.ndim not in (2, 3):
            raise IndexError(f"log_probs has {log_probs.ndim} dimensions")
        if targets.numel() and not 0 <= int(targets.min()) <= int(targets.max()) < log_probs.shape[-1]:
            raise IndexError(f"a label is none of {log_probs.shape[-1]} classes")
        return loss(log_probs, targets, *args, **kwargs)

    return checked
