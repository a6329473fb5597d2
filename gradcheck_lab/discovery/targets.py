"""Targets of the command line: import `pkg.module:name`, read options, and write the command that repeats a check."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import os
import pkgutil
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.model.user_errors import text_of

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class NoSpecs(InvalidArgument):
    """A target's inputs have no specs; `refusals` say why its author's calls and its docstring do not tell either."""

    def __init__(self, target: str, refusals: tuple[str, ...] = ()) -> None:
        spec = "--spec \"real('n d')\" --spec \"labels('n', classes='d')\""
        message = f"{target} has no specs to draw its inputs from; give one per input, such as {spec}"
        super().__init__("; ".join([message, *refusals]))
        self.refusals = refusals
        self._given = (target, refusals)

    def __reduce__(self) -> tuple[type[NoSpecs], tuple[str, tuple[str, ...]]]:
        return type(self), self._given


class NothingToCheck(InvalidArgument):
    """A module defines nothing that can be checked."""


class CannotConstruct(InvalidArgument):
    """A target is a class that cannot be constructed; `why` says it without naming the target."""

    def __init__(self, target: str, verb: str, why: str) -> None:
        super().__init__(f"{target} cannot be {verb}: {why}")
        self.why = why
        self._given = (target, verb, why)

    def __reduce__(self) -> tuple[type[CannotConstruct], tuple[str, str, str]]:
        return type(self), self._given


def locate(target: str) -> Any:
    """Import `pkg.module:name`, from the current directory too.

    Raises `InvalidArgument` for another form, a module that cannot be imported, and an unknown module or
    name; the message lists the known ones.
    """
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise InvalidArgument(f"{target!r} names nothing to check; write it as pkg.module:name")
    module = import_module(module_name)
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, public(module), 3)
        what = f"did you mean {' or '.join(near)}?" if near else f"it has {listed(public(module))}"
        raise InvalidArgument(f"the module {module_name!r} has no {name!r}; {what}")
    return getattr(module, name)


def read_option(text: str) -> tuple[str, Any]:
    """Read "key=value"; a value that is no Python literal is a string.

    >>> read_option("p=2"), read_option("reduction=sum")
    (('p', 2), ('reduction', 'sum'))
    """
    key, equals, value = text.partition("=")
    if not (key.isidentifier() and equals):
        raise InvalidArgument(f"the option {text!r} cannot be read; write it as key=value")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def check_command(
    target: str,
    written: Sequence[str],
    seed: int,
    dtype: str | None,
    options: Sequence[str],
    allow: Sequence[str],
    order: int,
    wrt: Sequence[str],
    compiled: bool = False,
) -> str:
    """The command that checks the same object on the same inputs again."""
    words = ["gradcheck-lab", "check", target, "--seed", str(seed)]
    words += ["--dtype", dtype] if dtype not in (None, "float64") else []
    words += ["--order", str(order)] if order != 1 else []
    words += ["--compile"] if compiled else []
    for flag, values in (("--spec", written), ("--option", options), ("--allow", allow), ("--wrt", wrt)):
        words += [word for value in values for word in (flag, value)]
    return shlex.join(words)


def import_module(name: str) -> ModuleType:
    """Import a module by name, from the current directory too, or by the path of its file.

    Raises `InvalidArgument` where the module does not exist or raises; the message lists the modules that exist.
    """
    name = module_name_of(name)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with Contained():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise InvalidArgument(f"importing {name!r} raised ModuleNotFoundError: {error}") from error
    except Exception as error:
        raise InvalidArgument(f"importing {name!r} raised {type(error).__name__}: {text_of(error)}") from error
    parent = missing.rpartition(".")[0]
    where, paths = (f"{parent!r}", _paths(parent)) if parent else ("the current directory", [os.getcwd()])
    names = [module.name for module in pkgutil.iter_modules(paths)]
    raise InvalidArgument(f"there is no module {missing!r}; {where} has {listed(names)}")


def module_name_of(text: str) -> str:
    """The name of a module, given so or as the path of its file, `layers.py` or `code/layers.py`.

    Raises `InvalidArgument` for a file that cannot be imported as a module.
    """
    return _importable_from_path(Path(text)) if text.endswith(".py") or os.sep in text else text


def _importable_from_path(path: Path) -> str:
    """The name by which the file at `path` can be imported, with the folder that its package lies in on `sys.path`.

    Raises `InvalidArgument` where there is no such file, or where its name is that of another module.
    """
    if not path.is_file():
        near = sorted(str(each) for each in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise InvalidArgument(f"there is no file {str(path)!r}; {str(path.parent)!r} has {listed(near)}")
    folder, words = path.resolve().parent, [] if path.stem == "__init__" else [path.stem]
    while (folder / "__init__.py").is_file():
        folder, words = folder.parent, [folder.name, *words]
    name = ".".join(words)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    where = getattr(found, "origin", None)
    if where is not None and Path(where).resolve() != path.resolve():
        raise InvalidArgument(f"{str(path)!r} is called as the module {name!r} of {where}; rename it")
    return name


def _paths(package: str) -> list[str]:
    return list(getattr(importlib.import_module(package), "__path__", []))


def public(module: ModuleType) -> list[str]:
    """The public names of a module."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    names = getattr(module, "__all__", None) or [name for name in own if not name.startswith("_")]
    return list(names)


def listed(names: Sequence[str], most: int = 20) -> str:
    """The first `most` of `names` in alphabetic order, as messages show them."""
    shown = sorted(names)[:most]
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*shown, *more]) or "nothing to check"
