"""How a command ends: its exit code and one line for every misuse, whatever the user's code, the user and the disk do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.shown import quoted, shown

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}
MISUSE = 2
INTERRUPTED = 130


@contextmanager
def misuse_exits() -> Iterator[None]:
    """Run a command: misuse, and a result that cannot be written, exit with 2 and one line, Ctrl-C with 130."""
    try:
        with _staying():
            yield
            sys.stdout.flush()
    except InvalidArgument as error:
        typer.echo(f"error: {shown(str(error))}", err=True)
        raise typer.Exit(MISUSE) from None
    except OSError as error:
        typer.echo(f"error: the result cannot be written: {shown(str(error))}", err=True)
        raise typer.Exit(MISUSE) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None


def refuse_unwritable_files(*paths: Path | None) -> None:
    """Raise `InvalidArgument` before the work is done for a folder, and for a file in a folder that does not exist."""
    for path in paths:
        if path is not None and not _may_be_written(path):
            raise InvalidArgument(f"cannot write {quoted(str(path))}; name a file in a folder that exists")


def write_json(path: Path | None, data: dict[str, Any]) -> None:
    """Write the result of a command. Raises `InvalidArgument` where the disk does not take it."""
    if path is None:
        return
    import json

    try:
        path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidArgument(f"cannot write {quoted(str(path))}: {error.strerror}; name another file") from None


def _may_be_written(path: Path) -> bool:
    try:
        return not path.is_dir() and path.parent.is_dir()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


@contextmanager
def _staying() -> Iterator[None]:
    """A block in which `os._exit` raises `SystemExit`, as `sys.exit` does; processes that are forked within it still end."""
    leave, own = os._exit, os.getpid()

    def stay(status: int) -> NoReturn:
        if os.getpid() != own:
            leave(status)
        raise SystemExit(status)

    os._exit = stay
    try:
        yield
    finally:
        os._exit = leave
