"""Operators that may not be called: they are taken away from the dispatcher, whatever mode, thread or guard a call is under."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

_KEYS = (
    "CompositeImplicitAutograd", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional", "CPU", "CUDA", "MPS",
    "Meta", "MkldnnCPU", "SparseCPU", "SparseCsrCPU", "QuantizedCPU", "NestedTensorCPU", "AutogradCPU", "AutogradCUDA",
)  # fmt: skip
_BETWEEN = re.compile(r"""[\s;&|()<>"'`$={}]+""")  # what stands between the words of a line for a shell
_INTERPRETER = re.compile(r"python[\d.]*[a-z]?(\.exe)?")


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
    """Refuse to start another interpreter, in which operators would be there again; a hook cannot be taken away.

    It looks at every word of a command, and at every word of a line for a shell. One that gets past it by another name is
    found by the process above: see `interpreters_below`.
    """
    starting = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system")
    words, is_interpreter = _words, _is_interpreter  # what a module is patched with has no part in it

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in starting:
            named = [word for word in words(arguments[:2]) if is_interpreter(word)]
            if named:
                started.append(event)
                raise PermissionError(f"{named[0]} is not available")

    sys.addaudithook(hook)


def _words(values: Sequence[Any]) -> list[str]:
    """The words of a command: its own, and those of a line for a shell among them."""
    found = []
    for value in values:
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(each, (str, bytes, os.PathLike)):
                found += [word for word in _BETWEEN.split(os.fsdecode(each)) if word]
    return found


def _is_interpreter(word: str) -> bool:
    """Whether a word names a program called python, as python3.12 is; compilers are given folders of that name."""
    named = _INTERPRETER.fullmatch(os.path.basename(word)) is not None
    return named and not word.startswith("-") and not os.path.isdir(word)
