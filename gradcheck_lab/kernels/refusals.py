"""Which exceptions of an interpreted kernel say that the interpreter cannot run it, and nothing about the kernel."""

from __future__ import annotations

import traceback
from pathlib import Path

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.triton_internals import is_interpreter_error, is_of_triton


class CannotInterpret(InvalidArgument):
    """A kernel that Triton's interpreter cannot run; the message says why."""


def root_of(error: BaseException) -> BaseException:
    """What a kernel raised, without what the interpreter wraps it in once for each function that calls another."""
    while is_interpreter_error(error) and error.__cause__ is not None:
        error = error.__cause__
    return error


def is_limit(error: BaseException) -> bool:
    """Whether it is the interpreter that fails, and not the kernel.

    It is where the exception comes from the interpreter's own code or from NumPy's under it, and where a value is not of the
    kind that it has on a device: a Python number has no `.to`. What the kernel asserts, and what Triton's checks of its types
    refuse, a compiler refuses too.
    """
    if isinstance(error, (NotImplementedError, AttributeError, TypeError)):
        return True
    if isinstance(error, AssertionError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1].filename if frames else ""
    is_checked = is_of_triton(last) and Path(last).name in ("semantic.py", "core.py", "standard.py")
    within = next((k for k in reversed(range(len(frames))) if not is_of_triton(frames[k].filename)), -1)
    return within < len(frames) - 1 and not is_checked if is_of_triton(last) else "numpy" in Path(last).parts


def refusal(kernel: str, error: BaseException) -> CannotInterpret:
    """The refusal of a call whose kernel the interpreter cannot run."""
    return CannotInterpret(
        f"the kernel {kernel} cannot run in Triton's interpreter ({class_and_line(error)}); check it on a device, "
        "without TRITON_INTERPRET"
    )
