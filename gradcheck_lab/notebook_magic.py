"""`%%gradcheck` of a notebook, a cell magic of IPython: run the cell, and compare the gradients that it made."""

from __future__ import annotations

import argparse
import shlex
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
import torch

from gradcheck_lab.compare import compare, compare_made
from gradcheck_lab.comparison.notebook import HandMade
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.render.notebook import show_report
from gradcheck_lab.torch_internals import writes_to

_TAKES = "it takes --all and --wrt NAMES; how far a gradient may be off follows from its dtype, so there is no tolerance to set"


class CellRefused(InvalidArgument):
    """What `%%gradcheck` refuses, which IPython shows as one line and which ends "Run all" as any error of a cell."""

    def _render_traceback_(self) -> list[str]:
        return [f"%%gradcheck: {self}"]


class CellResult(Protocol):
    """How a cell ended, as far as it is read here."""

    success: bool
    error_before_exec: BaseException | None
    error_in_exec: BaseException | None


class Shell(Protocol):
    """What is used of an `IPython.core.interactiveshell.InteractiveShell`."""

    user_ns: dict[str, Any]

    def register_magic_function(self, func: Callable[..., Any], magic_kind: str, magic_name: str) -> None:
        """Add a magic."""

    def run_cell(self, raw_cell: str) -> CellResult:
        """Run a cell in `user_ns`, and show what it returns and what it raises."""


def load_ipython_extension(shell: Shell) -> None:
    """Add `%%gradcheck` to IPython; called by `%load_ext gradcheck_lab`."""

    def gradcheck(line: str, cell: str) -> None:
        """Run the cell, then compare the gradients that it made by hand with autograd's, and show the report.

        `%%gradcheck --all` compares those of other cells too, as `gl.compare(globals())`; `--wrt W1,b1` those of the named
        tensors alone. A gradient counts as made where it, its tensor or the tensor's `.grad` is new or was changed.
        """
        run_and_compare(shell, line, cell)

    shell.register_magic_function(gradcheck, magic_kind="cell", magic_name="gradcheck")


def run_and_compare(shell: Shell, line: str, cell: str) -> None:
    """Run a cell by the shell, which shows its errors, and show what the gradients that it made are worth.

    Raises `CellRefused` for options that do not exist, for a cell that raises and for one that made no gradient.
    """
    wanted = _options(line)
    before = Snapshot.of(shell.user_ns)
    result = shell.run_cell(cell)
    if not result.success:
        error = result.error_in_exec or result.error_before_exec
        raise CellRefused(f"nothing was compared, since the cell raised {type(error).__name__}") from None
    wrt = [name for text in wanted.wrt for name in text.split(",") if name] or None
    try:
        report = compare(shell.user_ns, wrt=wrt) if wanted.all else compare_made(shell.user_ns, before.lacks, wrt)
    except InvalidArgument as error:
        raise CellRefused(str(error)) from None
    show_report(report)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tensors and arrays of a namespace, each with what tells whether it was changed since; they are held, so that no
    new one gets the identity of an old one."""

    marks: Mapping[int, tuple[Any, int | None]]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Snapshot:
        """Look at every tensor and array, at those in dicts, and at their gradients."""
        return cls({id(each): (each, _mark(each)) for each in _arrays(list(values.values()))})

    def lacks(self, made: HandMade) -> bool:
        """Whether a gradient made by hand is new: itself, its tensor, or what autograd has for that."""
        tensor = made.tensor
        return any(self._is_new(each) for each in (made.gradient, tensor, _autograd_of(tensor)) if each is not None)

    def _is_new(self, value: Any) -> bool:
        known = self.marks.get(id(value))
        return known is None or known[1] != _mark(value)


def _arrays(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
            yield from (each for each in (_autograd_of(value), vars(value).get("grad_")) if each is not None)
        elif isinstance(value, np.ndarray):
            yield value
        elif type(value) is dict:
            yield from (each for each in value.values() if isinstance(each, (torch.Tensor, np.ndarray)))


def _autograd_of(tensor: torch.Tensor) -> torch.Tensor | None:
    return tensor.grad if tensor.is_leaf or tensor.retains_grad else None


def _mark(value: Any) -> int | None:
    """What differs once the value was written to: the version that torch counts, or a checksum of an array."""
    if isinstance(value, torch.Tensor):
        return None if value.is_inference() else writes_to(value)
    return zlib.crc32(value.tobytes()) if value.dtype.kind in "fc" else None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CellRefused(f"{message}; {_TAKES}")


def _options(line: str) -> argparse.Namespace:
    parser = _Parser(prog="%%gradcheck", add_help=False, allow_abbrev=False)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--wrt", nargs="+", default=[], metavar="NAMES")
    try:
        words = shlex.split(line)
    except ValueError as error:  # a quote that is not closed
        raise CellRefused(f"{line!r} cannot be read: {error}; {_TAKES}") from None
    return parser.parse_args(words)
