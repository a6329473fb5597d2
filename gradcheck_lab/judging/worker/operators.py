"""Operators that may not be called: they are taken away from the dispatcher, whatever mode, thread or guard a call is under."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

_KEYS = (
    "CompositeImplicitAutograd", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional", "CPU", "CUDA", "MPS",
    "Meta", "MkldnnCPU", "SparseCPU", "SparseCsrCPU", "QuantizedCPU", "NestedTensorCPU", "AutogradCPU", "AutogradCUDA",
)  # fmt: skip


def forbid(names: Iterable[str]) -> list[str]:
    """Take operators away, for good: every kernel of theirs raises. Returns the list to which calls are added.

    The registrations are leaked, so that nothing here can end them.
    """
    called: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            space, operator = name.split(".")
            for overload in getattr(getattr(torch.ops, space), operator).overloads():
                full = operator if overload == "default" else f"{operator}.{overload}"
                _take_away(space, full, _refusing(name, called))
    return called


def _take_away(space: str, full: str, kernel: Callable[..., Any]) -> None:
    for key in _KEYS:
        library: Any = torch._C._dispatch_library("IMPL", space, key, "", 0)  # torch.library's could be found, and ended
        with contextlib.suppress(RuntimeError, ValueError):  # some operators take no kernel of their own under some keys
            library.impl(full, key, kernel)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))


def _refusing(name: str, called: list[str]) -> Callable[..., Any]:
    def kernel(*arguments: Any, **keywords: Any) -> Any:
        called.append(name)
        raise RuntimeError(f"{name} is not available")

    return kernel


def watch_processes(started: list[str]) -> None:
    """Refuse to start another interpreter, in which operators would be there again; a hook cannot be taken away."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
            words = [os.fsdecode(each) for each in _words(arguments[:2])]
            if any("python" in os.path.basename(word.split(" ")[0]) for word in words if word):
                started.append(event)
                raise PermissionError(f"{words[0]} is not available")

    sys.addaudithook(hook)


def _words(values: Sequence[Any]) -> Iterator[str | bytes]:
    for value in values:
        if isinstance(value, (str, bytes)):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (each for each in value if isinstance(each, (str, bytes)))
