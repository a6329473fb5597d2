"""The plugin's options: `--gradcheck-...` on the command line, `gradcheck_...` in pytest's section of a configuration file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gradcheck_lab.model.files import SUFFIXES
from gradcheck_lab.pytesting.options import DTYPES, read_options


@dataclass(frozen=True, slots=True)
class Settings:
    """The options. Empty `devices` and `dtypes` leave tensors as tests make them; `any_set` says whether any option was set."""

    devices: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    examples: int | None = None
    seed: int = 0
    report: Path | None = None
    save_failures: Path | None = None
    any_set: bool = False


def read_settings(config: pytest.Config) -> Settings:
    """Read the options, the command line's before the file's.

    Raises `pytest.UsageError` for a value that cannot be read; the message names the fix.
    """
    values, from_file = read_options(config)
    return Settings(
        devices=tuple(dict.fromkeys(values["device"] or ())),
        dtypes=_dtypes(values["dtype"] or ()),
        examples=_number("examples", values["examples"], 1),
        seed=_number("seed", values["seed"], 0) or 0,
        report=None if hasattr(config, "workerinput") else _report(_path(config, values["report"], "report" in from_file)),
        save_failures=_path(config, values["save_failures"], "save_failures" in from_file),
        any_set=any(values.values()),
    )


def _dtypes(names: Iterable[str]) -> tuple[str, ...]:
    for name in names:
        if name not in DTYPES:
            raise pytest.UsageError(f"--gradcheck-dtype is {name!r}; pass one of {', '.join(DTYPES)}")
    return tuple(dict.fromkeys(names))


def _number(name: str, text: str | None, least: int) -> int | None:
    if text is None or text == "":
        return None
    if not text.isdecimal() or int(text) < least:
        raise pytest.UsageError(f"--gradcheck-{name} is {text!r}; pass a whole number of at least {least}")
    return int(text)


def _path(config: pytest.Config, text: str | None, from_file: bool) -> Path | None:
    if not text:
        return None
    base = config.inipath.parent if from_file and config.inipath is not None else config.invocation_params.dir
    return base / text


def _report(path: Path | None) -> Path | None:
    if path is None:
        return None
    if path.suffix not in SUFFIXES:
        known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise pytest.UsageError(f"--gradcheck-report is {path.name!r}; name a file that ends in {known}")
    if path.is_dir() or not path.parent.is_dir():
        raise pytest.UsageError(f"--gradcheck-report: cannot write {path.name!r}; name a file in a folder that exists")
    return path
