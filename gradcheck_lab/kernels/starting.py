"""How Triton's interpreter is started: before triton is imported, by the environment; and given its hooks before a check."""

from __future__ import annotations

import importlib.util
import os

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.kernels.driver import InterpreterDriver
from gradcheck_lab.kernels.launches import MONITOR
from gradcheck_lab.kernels.library import FUNCTIONS
from gradcheck_lab.triton_internals import install, is_imported, is_interpreting, missing_names, version

INTERPRETED = "triton interpreter"  # the entry of a report's environment


def interpret_triton(asked_by: str) -> None:
    """Have Triton run kernels in its interpreter from now on; `asked_by` is the option that asks for it.

    Raises `InvalidArgument` where triton is missing, or was imported without the interpreter, or lacks what is used of it.
    """
    if importlib.util.find_spec("triton") is None:
        raise InvalidArgument(f"{asked_by} needs triton, which is not installed; run pip install 'gradcheck_lab[triton]'")
    if is_imported() and not is_interpreting():
        raise InvalidArgument(
            f"{asked_by} came too late: triton was imported without its interpreter; set TRITON_INTERPRET=1 in the environment"
        )
    os.environ["TRITON_INTERPRET"] = "1"
    _refuse_version()


def install_where_interpreting() -> None:
    """Give the interpreter its hooks, where the user's code has imported triton with it.

    Raises `InvalidArgument` for a version of triton that lacks what is used of it.
    """
    if is_imported() and is_interpreting():
        _refuse_version()
        install(MONITOR, InterpreterDriver(), FUNCTIONS)


def launches() -> int:
    """How many launches were interpreted in this process."""
    return MONITOR.count


def interpreted_since(before: int) -> dict[str, str]:
    """What a report's environment says of Triton: its version where there were more than `before` launches, else nothing."""
    return {INTERPRETED: version()} if MONITOR.count > before else {}


def _refuse_version() -> None:
    missing = missing_names()
    if missing:
        lacks = f"triton {version()} has no {missing[0]}, by which its kernels are watched"
        raise InvalidArgument(f"{lacks}; install triton==3.9.0")
