"""Which exceptions of an interpreted kernel say that the interpreter cannot run it, and nothing about the kernel."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import CodeType

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.triton_internals import is_imported, is_interpreter_error, is_interpreting, is_of_triton

_FOR_DEVICES = frozenset({"cuda", "is_cuda"})
_INNERMOST = 2  # the frame that raised, and the one that called it where that is torch's


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


def needs_device(error: BaseException) -> bool:
    """Whether, while kernels are interpreted, code around them raised that is written for a device: it names `cuda`.

    So it asserts that a tensor is on a device, asks torch for the properties of one, or sets a variable for devices alone.
    """
    if not is_imported() or not is_interpreting():
        return False
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(codes) and any(_FOR_DEVICES & _words(code) for code in codes[-_INNERMOST:])


def _words(code: CodeType) -> set[object]:
    return {*code.co_names, *(each for each in code.co_consts if isinstance(each, str))}


def refused_device(error: BaseException) -> CannotInterpret:
    """The refusal of a call whose code around the kernels is written for a device."""
    return CannotInterpret(
        f"the code around the kernels is written for a device ({class_and_line(error)}); check it on one, "
        "without TRITON_INTERPRET"
    )


def refusal(kernel: str, error: BaseException) -> CannotInterpret:
    """The refusal of a call whose kernel the interpreter cannot run."""
    return CannotInterpret(
        f"the kernel {kernel} cannot run in Triton's interpreter ({class_and_line(error)}); check it on a device, "
        "without TRITON_INTERPRET"
    )
