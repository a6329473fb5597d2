"""The command `gradcheck-lab replay`: the call in a saved file, examined on the op as it is now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from gradcheck_lab.discovery.description import constructed
from gradcheck_lab.discovery.targets import locate
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.examiner import Examiner
from gradcheck_lab.fuzzing.portable import NOT_IMPORTABLE, read
from gradcheck_lab.report import Report


def replay_case(path: str | Path) -> Report:
    """Examine the call in a file that fuzzing saved, on the op as it is now.

    Raises `InvalidArgument` for a file that is no case, and for one whose op cannot be imported.
    """
    saved = read(path)
    if saved.target is None:
        raise InvalidArgument(
            f"{str(path)!r} does not say where {saved.subject} can be imported from, since it was defined in a script or "
            "function; move it to a module and fuzz again, or run the lines in the entry 'python'"
        )
    if saved.reference == NOT_IMPORTABLE:
        raise InvalidArgument(
            f"the case in {str(path)!r} was compared with a reference that cannot be imported; "
            "move it to a module and fuzz again"
        )
    dtypes = [tensor.dtype for tensor in saved.call.tensors if tensor.dtype.is_floating_point]
    found = constructed(
        locate(saved.target), saved.target.partition(":")[2], saved.constructor_seed, (*dtypes, torch.float64)[0]
    )
    reference = None if saved.reference is None else locate(saved.reference)
    report = Examiner(found, reference, saved.order, saved.allow).report(saved.call)
    return replace(report, reproduce=f"gradcheck-lab replay {path}")
