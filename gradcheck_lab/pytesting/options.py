"""The options as pytest learns of them. Every test run imports this file, so it imports nothing that is slow."""

from __future__ import annotations

import os
from typing import Any

import pytest

DTYPES = ("float64", "float32", "bfloat16", "float16")
MARKER = (
    "gradcheck(allow={cause: reason}, dtypes=[...], devices=[...], wrt=[...], isolate=True, timeout=seconds, "
    "memory_limit=bytes): causes that are accepted in this test, and have to be found; the dtypes and devices that it is for; "
    "the inputs that need a gradient; checks in processes of their own"
)
_NAMES = ("device", "dtype", "examples", "seed", "report", "save_failures")


def add_options(parser: pytest.Parser) -> None:
    """Declare the options and their settings."""
    group = parser.getgroup("gradcheck", "checking hand-written gradients (gradcheck_lab)")
    group.addoption(
        "--gradcheck-device", action="append", metavar="DEVICE", help="Device of the tensors; repeat it for several."
    )
    group.addoption(
        "--gradcheck-dtype",
        action="append",
        metavar="DTYPE",
        help=f"Dtype of the floating tensors: {', '.join(DTYPES)}; repeat it for several.",
    )
    group.addoption("--gradcheck-examples", metavar="N", help="Examples that gradcheck.fuzz draws.")
    group.addoption("--gradcheck-seed", metavar="N", help="Seed of everything random.")
    group.addoption("--gradcheck-report", metavar="FILE", help="Write every verified op as FILE.json, .html or .sarif.")
    group.addoption(
        "--gradcheck-github",
        action="store_true",
        help="Annotate backwards on GitHub and write the job's summary, as a workflow there does without being asked.",
    )
    group.addoption(
        "--gradcheck-mutate",
        action="store_true",
        help="Edit the backwards that the tests run, one edit at a time, and list the edits that they do not notice.",
    )
    group.addoption(
        "--gradcheck-triton-interpret",
        action="store_true",
        help="Run Triton kernels on the CPU, in Triton's interpreter, and watch their memory.",
    )
    group.addoption("--gradcheck-save-failures", metavar="FOLDER", help="Write the report of each failing test there.")
    for name in _NAMES:
        help_text = f"as --gradcheck-{name.replace('_', '-')}"
        if name in ("device", "dtype"):
            parser.addini(f"gradcheck_{name}", help_text, type="args")
        else:
            parser.addini(f"gradcheck_{name}", help_text)


def refuse_processes(config: pytest.Config) -> None:
    """Raise `pytest.UsageError` where xdist runs the tests in other processes and mutants are asked for."""
    in_others = getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput")
    if config.getoption("--gradcheck-mutate") and in_others:
        raise pytest.UsageError("--gradcheck-mutate runs the tests in forks of this process; add -n 0")


def interpret_triton_if_asked(config: pytest.Config) -> None:
    """Start Triton's interpreter before a test module imports triton. Raises `pytest.UsageError` where it cannot be."""
    if not config.getoption("--gradcheck-triton-interpret"):
        return
    from gradcheck_lab.errors import InvalidArgument
    from gradcheck_lab.kernels.starting import interpret_triton

    try:
        interpret_triton("--gradcheck-triton-interpret")
    except InvalidArgument as error:
        raise pytest.UsageError(str(error)) from None


def is_on_github(config: pytest.Config) -> bool:
    """Whether a run is told to GitHub: in a workflow there, or where the option asks for it."""
    return bool(config.getoption("--gradcheck-github")) or os.environ.get("GITHUB_ACTIONS") == "true"


def read_options(config: pytest.Config) -> tuple[dict[str, Any], set[str]]:
    """The values as they were written, by name, and the names that the command line leaves to the configuration file."""
    values = {name: config.getoption(f"--gradcheck-{name.replace('_', '-')}") for name in _NAMES}
    from_file = {name: config.getini(f"gradcheck_{name}") for name in _NAMES if not values[name]}
    return {**values, **from_file}, set(from_file)
