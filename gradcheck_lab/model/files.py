"""Files of others: JSON that is read whole or refused in one sentence; and files that are written where they belong."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.limits import FILE_BYTES, NESTED_ENTRIES, WHOLE_DIGITS
from gradcheck_lab.model.shown import quoted

SUFFIXES = (".json", ".html", ".sarif")  # of the files that a report is written to: its data, a page, for code scanning


class _Refused(ValueError):
    """Why a file is not read, without its name."""


def read_json(path: str | Path, fix: str) -> Any:
    """The data in a JSON file; `fix` ends each message of refusal.

    Raises `InvalidArgument` for what is no file or cannot be read, a file that is too large, text that is not UTF-8 or not
    JSON, an entry that stands twice, a number that is not finite or has too many digits, and entries nested too deeply.
    """
    name = quoted(str(path))
    try:
        text = _bytes(path).decode("utf-8")
        data = json.loads(
            text, object_pairs_hook=_without_doubles, parse_constant=_not_finite, parse_float=_finite, parse_int=_whole
        )  # fmt: skip
        refuse_deep(data)
    except OSError as error:
        raise InvalidArgument(f"cannot read {name}: {error.strerror}; {fix}") from error
    except _Refused as error:
        raise InvalidArgument(f"{name} {error}; {fix}") from None
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{name} is no UTF-8 text ({error.reason} at byte {error.start}); {fix}") from None
    except RecursionError:
        raise InvalidArgument(f"{name} {_too_deep()}; {fix}") from None
    except ValueError as error:
        raise InvalidArgument(f"{name} is no JSON ({error}); {fix}") from error
    return data


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. A link of that name is replaced, never followed."""
    part = path.with_name(f".{os.urandom(8).hex()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def refuse_deep(data: Any) -> None:
    """Raise `ValueError` for lists and tables that are nested more deeply than any file needs."""
    level: list[Any] = [data]
    for _ in range(NESTED_ENTRIES.value + 1):
        level = [entry for each in level for entry in _entries(each)]
        if not level:
            return
    raise _Refused(_too_deep())


def _entries(data: Any) -> Iterator[Any]:
    if isinstance(data, dict):
        yield from data.values()
    elif isinstance(data, (list, tuple)):
        yield from data


def _bytes(path: str | Path) -> bytes:
    """The bytes of an ordinary file. Without O_NONBLOCK, opening a pipe would wait for whoever writes to it."""
    if "\0" in str(path):
        raise _Refused("names no file")
    _refuse_other_than_files(os.stat(path).st_mode)  # before it is opened: opening a device may do something
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        _refuse_other_than_files(os.fstat(descriptor).st_mode)
        data = file.read(FILE_BYTES.value + 1)
    if len(data) > FILE_BYTES.value:
        raise _Refused(f"has more than the {FILE_BYTES.value:,} bytes that are read")
    return data


def _refuse_other_than_files(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise _Refused("is a folder")
    if not stat.S_ISREG(mode):
        raise _Refused("is no ordinary file")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Refused(f"has the entry {quoted(key)} twice")
        found[key] = value
    return found


def _not_finite(word: str) -> float:
    raise _Refused(f"holds {word}, which is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _Refused(f"holds {quoted(digits)}, which is too large for a number")
    return value


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > WHOLE_DIGITS.value:
        raise _Refused(f"holds a whole number of {len(digits.lstrip('-'))} digits")
    return int(digits)


def _too_deep() -> str:
    return f"nests entries more than {NESTED_ENTRIES.value} deep"
